import assert from "node:assert/strict";
import { closeQuietly, writeAll } from "../../core/byte_stream.ts";
import { answerConnections, type RunningAccess } from "../../cli/access_socket.ts";
import { granted } from "../support/permissions.ts";

const RUNNING: RunningAccess = {
  id: "0123abcd",
  pid: 1,
  service: "alice/db",
  local: "127.0.0.1:5432",
  state: "open",
  remainingMs: 1000,
  connections: 0,
  open: 0,
  bytesIn: 0,
  bytesOut: 0,
};

async function ask(path: string, question: string): Promise<unknown> {
  const conn = await Deno.connect({ transport: "unix", path });
  try {
    await writeAll(conn, new TextEncoder().encode(`${question}\n`));
    return JSON.parse(await new Response(conn.readable).text());
  } finally {
    closeQuietly(conn);
  }
}

Deno.test({
  name: "a running access is answered for, also after an accept that has failed",
  ignore: !granted("read", "write", "net"),
  async fn() {
    const folder = await Deno.makeTempDir();
    try {
      const path = `${folder}/a.sock`;
      const listener = Deno.listen({ transport: "unix", path });
      let failures = 2, stops = 0;
      await using _answering = answerConnections({
        accept: () => failures-- > 0 ? Promise.reject(new Error("Too many open files")) : listener.accept(),
        close: () => listener.close(),
      }, { status: () => RUNNING, stop: () => stops++, retryMs: 1 });
      assert.deepEqual(await ask(path, "status"), RUNNING);
      assert.deepEqual(await ask(path, "stop"), RUNNING);
      assert.equal(stops, 1);
    } finally {
      await Deno.remove(folder, { recursive: true });
    }
  },
});
