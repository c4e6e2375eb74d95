import assert from "node:assert/strict";
import { type ByteStream, writeAll } from "../../core/byte_stream.ts";
import type { ClosedEvent } from "../../core/plugin/contract.ts";
import { connectTls, readExactly, testCertificate } from "../core/data_plane/clients.ts";
import { readToEnd, serveTcp, startResponder, type TestServer } from "../support/echo.ts";
import { TestPlane } from "../support/plane.ts";
import { until } from "../support/until.ts";

const REQUEST = new TextEncoder().encode("\x01 a request");
const LARGE = Uint8Array.from({ length: 5_000_000 }, (_, i) => i * 7 & 0xff);

const LAYERS = ["TCP", "terminated TLS"] as const;

/** A gateway to `upstream`, and a client of it over one of the layers. */
async function gatewayTo(upstream: TestServer, layer: typeof LAYERS[number]) {
  const { material } = await testCertificate();
  const closed: ClosedEvent[] = [];
  const forward = { kind: "forward", to: upstream.target } as const;
  const gateway = new TestPlane({
    plugins: [{
      route: () => layer === "TCP" ? forward : { kind: "terminate", then: forward },
      closed: (event) => void closed.push(event),
    }],
    certificates: [material],
  });
  return {
    closed,
    connect: (): Promise<Deno.TcpConn | Deno.TlsConn> =>
      layer === "TCP" ? gateway.connect() : connectTls(gateway),
    [Symbol.asyncDispose]: () => gateway[Symbol.asyncDispose](),
  };
}

for (const layer of LAYERS) {
  Deno.test(`over ${layer}, a reply that is sent after the client's FIN arrives`, async () => {
    await using upstream = startResponder((request) => request.toReversed());
    await using gateway = await gatewayTo(upstream, layer);
    using client = await gateway.connect();
    await writeAll(client, REQUEST);
    await client.closeWrite();
    assert.deepEqual(await readToEnd(client), REQUEST.toReversed());
    await until(() => gateway.closed.length === 1, { what: "the end" });
    assert.equal(gateway.closed[0]?.result, "ok");
  });

  Deno.test(`over ${layer}, a reply of any size arrives after the client's FIN`, async () => {
    await using upstream = startResponder(() => LARGE);
    await using gateway = await gatewayTo(upstream, layer);
    using client = await gateway.connect();
    await writeAll(client, REQUEST);
    await client.closeWrite();
    assert.deepEqual(await readToEnd(client), LARGE);
  });

  Deno.test(`over ${layer}, a client goes on sending after the upstream's FIN`, async () => {
    const received = Promise.withResolvers<Uint8Array>();
    await using upstream = serveTcp(async (conn) => {
      await readExactly(conn, REQUEST.length);
      await writeAll(conn, REQUEST);
      await conn.closeWrite();
      received.resolve(await readToEnd(conn));
    });
    await using gateway = await gatewayTo(upstream, layer);
    using client = await gateway.connect();
    await writeAll(client, REQUEST);
    assert.deepEqual(await readToEnd(client as ByteStream), REQUEST, "the FIN came through alone");
    await writeAll(client, LARGE);
    await client.closeWrite();
    assert.deepEqual(await received.promise, LARGE);
    await until(() => gateway.closed.length === 1, { what: "the end" });
    assert.equal(gateway.closed[0]?.result, "ok");
  });
}

Deno.test("a FIN right behind the first bytes is a FIN for the upstream, and no reason to refuse", async () => {
  await using upstream = startResponder((request) => request);
  await using gateway = await gatewayTo(upstream, "TCP");
  for (let i = 0; i < 20; i++) {
    using client = await gateway.connect();
    await writeAll(client, REQUEST);
    await client.closeWrite();
    assert.deepEqual(await readToEnd(client), REQUEST);
  }
});
