import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { writeAll } from "../../core/byte_stream.ts";
import { LentBuffers } from "../core/data_plane/lent_buffers.ts";
import { serveTcp } from "../support/echo.ts";
import { forwardAll, TestPlane } from "../support/plane.ts";
import { until } from "../support/until.ts";

const CHUNK = Uint8Array.from({ length: 65_536 }, (_, i) => i * 31 & 0xff || 1);
/** No byte has been taken for this long: then the writer waits. */
const STALL_MS = 300;
/** The systems's buffers of four sockets, as large as they grow, and a little of ours. */
const MOST_BYTES = 40 * 1024 * 1024;

interface Flow {
  taken: number;
  lastTaken: number;
  stop: boolean;
}

/** Sends until it is told to stop, then its FIN. Resolves to the hash of what was taken. */
async function send(to: Deno.TcpConn, flow: Flow): Promise<string> {
  const hash = createHash("sha256");
  while (!flow.stop) {
    const written = await to.write(CHUNK);
    hash.update(CHUNK.subarray(0, written));
    flow.taken += written;
    flow.lastTaken = performance.now();
  }
  await to.closeWrite();
  return hash.digest("hex");
}

async function receive(from: Deno.TcpConn): Promise<{ hash: string; bytes: number }> {
  const hash = createHash("sha256");
  const buffer = new Uint8Array(65_536);
  let bytes = 0;
  for (let n; (n = await from.read(buffer)) !== null; bytes += n) hash.update(buffer.subarray(0, n));
  return { hash: hash.digest("hex"), bytes };
}

async function stalled(flow: Flow): Promise<void> {
  const isStalled = () => flow.taken > MOST_BYTES || performance.now() - flow.lastTaken > STALL_MS;
  await until(isStalled, { what: "the writer to wait", deadlineMs: 20_000 });
  assert.ok(flow.taken <= MOST_BYTES, `${flow.taken} bytes were taken, and nobody reads`);
}

for (const direction of ["to the upstream", "to the client"] as const) {
  Deno.test(`a reader that stops makes the writer wait (${direction}), and nothing is lost when it goes on`, async () => {
    using buffers = new LentBuffers();
    const flow: Flow = { taken: 0, lastTaken: performance.now(), stop: false };
    const goOn = Promise.withResolvers<void>();
    const slowly = async (conn: Deno.TcpConn) => {
      await goOn.promise;
      return await receive(conn);
    };
    const atUpstream = Promise.withResolvers<unknown>();
    const upward = direction === "to the upstream";
    await using upstream = serveTcp(async (conn) => {
      if (!upward) await conn.read(new Uint8Array(1));
      atUpstream.resolve(await (upward ? slowly(conn) : send(conn, flow)));
    });
    const bytes: number[] = [];
    const closed = ({ bytesIn, bytesOut }: { bytesIn: number; bytesOut: number }) =>
      void bytes.push(bytesIn, bytesOut);
    await using gateway = new TestPlane({ plugins: [forwardAll(upstream.address.port, { closed })] });
    using client = await gateway.connect();
    if (!upward) await writeAll(client, CHUNK.subarray(0, 1));
    const atClient = upward ? send(client, flow) : slowly(client);
    flow.lastTaken = performance.now();
    await stalled(flow);
    const counted = gateway.counted("bytes_total", { direction: upward ? "in" : "out" });
    assert.ok(counted > 0 && counted <= flow.taken, `${counted} counted of ${flow.taken}`);
    assert.ok(buffers.count() <= 2);

    flow.stop = true;
    goOn.resolve();
    const [here, there] = await Promise.all([atClient, atUpstream.promise]);
    const [sent, received] = upward ? [here, there] : [there, here];
    assert.deepEqual(received, { hash: sent, bytes: flow.taken });
    if (upward) client.close();
    else await client.closeWrite();
    await until(() => bytes.length === 2, { what: "the connection to be closed" });
    assert.deepEqual(bytes, upward ? [flow.taken, 0] : [1, flow.taken]);
    assert.equal(buffers.count(), 0);
  });
}
