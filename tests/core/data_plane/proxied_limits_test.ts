import assert from "node:assert/strict";
import { writeAll } from "../../../core/byte_stream.ts";
import { readToEnd, startEcho } from "../../support/echo.ts";
import { forwardAll, TestPlane } from "../../support/plane.ts";
import { until } from "../../support/until.ts";

const encode = (text: string) => new TextEncoder().encode(text);

Deno.test("clients behind a trusted proxy are counted each by its own address", async () => {
  await using echo = startEcho();
  await using plane = new TestPlane({
    plugins: [forwardAll(echo.address.port)],
    proxyFrom: ["127.0.0.1"],
    limits: { maxConnectionsPerSource: 1 },
  });
  const open = async (source: string) => {
    const client = await plane.connect();
    await writeAll(client, encode(`PROXY TCP4 ${source} 192.0.2.9 1000 443\r\nSSH-2.0-test\r\n`));
    return client;
  };
  const echoed = async (client: Deno.TcpConn) => {
    const buffer = new Uint8Array(64);
    const length = await client.read(buffer);
    return new TextDecoder().decode(buffer.subarray(0, length ?? 0));
  };
  using first = await open("192.0.2.1");
  assert.equal(await echoed(first), "SSH-2.0-test\r\n");
  using other = await open("192.0.2.2");
  assert.equal(await echoed(other), "SSH-2.0-test\r\n", "another client of the same proxy is not in its way");
  using second = await open("192.0.2.1");
  assert.equal(
    new TextDecoder().decode(await readToEnd(second)),
    "Too many connections from your address\r\n",
  );
  assert.equal(plane.counted("rejected_total", { reason: "max_connections_per_source" }), 1);
  await first.closeWrite();
  await readToEnd(first);
  await until(() => plane.plane.size === 1, { what: "the first connection's end" });
  using again = await open("192.0.2.1");
  assert.equal(await echoed(again), "SSH-2.0-test\r\n");
});
