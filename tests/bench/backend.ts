/** The process behind the proxies: what a connection gets is decided by the port it comes to. */
import { closeQuietly, writeAll } from "../../core/byte_stream.ts";
import { BACKEND_MODES, type BackendMode } from "./jobs.ts";
import { writeMessage } from "./json_lines.ts";

const CHUNK_BYTES = 256 * 1024;
const SMALL_BYTES = 4096;

const handlers: Record<BackendMode, (connection: Deno.TcpConn) => Promise<void>> = {
  async echo(connection) {
    const buffer = new Uint8Array(SMALL_BYTES);
    for (let n; (n = await connection.read(buffer)) !== null;) {
      await writeAll(connection, buffer.subarray(0, n));
    }
  },
  async sink(connection) {
    const buffer = new Uint8Array(CHUNK_BYTES);
    while (await connection.read(buffer) !== null);
  },
  async source(connection) {
    if (await connection.read(new Uint8Array(SMALL_BYTES)) === null) return;
    const data = new Uint8Array(CHUNK_BYTES);
    for (;;) await writeAll(connection, data);
  },
};

async function serve(listener: Deno.TcpListener, handler: (connection: Deno.TcpConn) => Promise<void>) {
  for await (const connection of listener) {
    connection.setNoDelay(true);
    handler(connection).catch(() => {}).finally(() => closeQuietly(connection));
  }
}

function listen(mode: BackendMode): number {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0, tcpBacklog: 4096 });
  serve(listener, handlers[mode]);
  return listener.addr.port;
}

const peers: string[] = JSON.parse(Deno.args[0] ?? "[]");
await writeMessage(Object.fromEntries(peers.map((peer) => {
  return [peer, Object.fromEntries(BACKEND_MODES.map((mode) => [mode, listen(mode)]))];
})));
// The end of stdin is the end of the bench, however it ended.
for await (const _ of Deno.stdin.readable);
Deno.exit(0);
