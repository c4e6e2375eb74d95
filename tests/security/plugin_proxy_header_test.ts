/** PROXY headers and the plugins: whose address counts, what a target is told, and what goes through a tunnel as it came. */
import assert from "node:assert/strict";
import { closeQuietly, writeAll } from "../../core/byte_stream.ts";
import { SILENT_LOG } from "../../core/log.ts";
import { cloudflaredConfig } from "../../plugins/cloudflared/config.ts";
import { CloudflaredPlugin } from "../../plugins/cloudflared/plugin.ts";
import { type Child, systemTools, type Tools } from "../../plugins/cloudflared/tools.ts";
import {
  bytes,
  helloMessage,
  inRecords,
  PROXY_V1,
  proxyV2,
  serverName,
  SSL_REQUEST,
  tlv,
  V2_IPV4_BLOCK,
} from "../core/data_plane/preface/samples.ts";
import { readToEnd, serveTcp, startEcho, type TestServer } from "../support/echo.ts";
import { TestPlane } from "../support/plane.ts";
import { until } from "../support/until.ts";
import { exchangeText } from "../support/wire.ts";
import { idOf, MtlsPlane, visit } from "./mtls_plane.ts";

const TRUSTED = ["127.0.0.1/32"];
/** What {@link PROXY_V1} and {@link V2_IPV4_BLOCK} say. */
const SOURCE = "203.0.113.9:56324";
const IDENTITY_TLV = 0xe0;
const FORGED = bytes(
  V2_IPV4_BLOCK,
  tlv(IDENTITY_TLV, bytes(idOf("root"))),
  tlv(0x02, bytes("admin.example.com")),
  tlv(0x20, bytes([1, 0, 0, 0, 0])),
);

/** Stands between a client and the gateway, as a load balancer that sends this header. */
function balancer(gateway: MtlsPlane, header: Uint8Array): TestServer {
  return serveTcp(async (client) => {
    const toGateway = await gateway.connect();
    await writeAll(toGateway, header);
    await Promise.allSettled([
      client.readable.pipeTo(toGateway.writable),
      toGateway.readable.pipeTo(client.writable),
    ]);
  });
}

for (const [name, header] of [["v1", PROXY_V1], ["v2", proxyV2(0x21, 0x11, V2_IPV4_BLOCK)]] as const) {
  Deno.test(`mtls-postgres: behind a trusted proxy (${name}) the client's own address is audited`, async () => {
    await using host = startEcho();
    await using gateway = await MtlsPlane.start({ to: host.target, proxyFrom: TRUSTED });
    await using between = balancer(gateway, header);
    const { port } = between.address;
    const certificate = await gateway.issue("alice");
    assert.equal(await visit({ ca: gateway.serverCa, port, certificate }), "ping");
    await visit({ ca: gateway.serverCa, port });
    await until(() => gateway.lines().length === 2, { what: "two lines" });
    assert.deepEqual(gateway.lines().map(({ source }) => source), [SOURCE, SOURCE]);
  });
}

Deno.test("mtls-postgres: failures are counted by the address that a trusted proxy tells", async () => {
  await using host = startEcho();
  const section = { failuresPerMinute: 2 };
  await using gateway = await MtlsPlane.start({ to: host.target, proxyFrom: TRUSTED, section });
  await using one = balancer(gateway, PROXY_V1);
  await using other = balancer(gateway, bytes("PROXY TCP4 203.0.113.10 192.0.2.1 56324 443\r\n"));
  const ca = gateway.serverCa;
  const certificate = await gateway.issue("alice");
  for (let i = 1; i <= 2; i++) {
    await visit({ ca, port: one.address.port });
    await until(() => gateway.lines().length === i, { what: "a line" });
  }
  assert.notEqual(await visit({ ca, port: one.address.port, certificate }), "ping");
  assert.equal(gateway.lines().at(-1)?.["reason"], "over_limit");
  assert.equal(await visit({ ca, port: other.address.port, certificate }), "ping");
  assert.equal(await visit({ ca, port: gateway.port, certificate }), "ping", "nor is the proxy itself");
});

Deno.test("mtls-postgres: a PROXY header from anybody else is refused before anybody is asked", async () => {
  await using host = startEcho();
  await using gateway = await MtlsPlane.start({ to: host.target });
  assert.match(await exchangeText(gateway, PROXY_V1), /PROXY header is not accepted/);
  assert.equal(gateway.plane.counted("rejected_total", { reason: "proxy_protocol_refused" }), 1);
  assert.equal(host.accepted, 0);
});

Deno.test("mtls-postgres: an identity that stands in the client's PROXY header never reaches the target", async () => {
  const headers: Uint8Array[] = [];
  await using host = serveTcp(async (conn) => {
    const buffer = new Uint8Array(2000);
    headers.push(buffer.slice(0, await conn.read(buffer) ?? 0));
  });
  const section = { proxyProtocol: "v2" };
  await using gateway = await MtlsPlane.start({ to: host.target, proxyFrom: TRUSTED, section });
  await using between = balancer(gateway, proxyV2(0x21, 0x11, FORGED));
  const certificate = await gateway.issue("alice");
  await visit({ ca: gateway.serverCa, port: between.address.port, certificate });
  const header = await until(() => headers[0], { what: "a header" });
  // What else a first read may bring is the client's "ping".
  const own = proxyV2(0x21, 0x11, bytes(V2_IPV4_BLOCK, tlv(IDENTITY_TLV, bytes(idOf("alice")))));
  assert.equal(header.subarray(0, own.length).toHex(), own.toHex(), "made of values that were checked");
  assert.ok(!new TextDecoder().decode(header).includes("root"));
});

/** A `cloudflared` whose every program is the server at `target`, and that has started at once. */
function tunnelTo(target: TestServer): CloudflaredPlugin {
  const spawn = (): Child => {
    const { promise: status, resolve } = Promise.withResolvers<{ code: number; signal: string | null }>();
    const says = (text: string) =>
      new ReadableStream<Uint8Array>({
        async start(controller) {
          controller.enqueue(bytes(text));
          await status;
          controller.close();
        },
      });
    const stderr = says("2026-08-20T10:54:27Z INF Start Websocket listener host=localhost:1\n");
    return { pid: 1, stdout: says(""), stderr, status, kill: () => resolve({ code: 0, signal: null }) };
  };
  const { port } = target.address;
  const config = cloudflaredConfig.parse({ names: ["*.example.com"], ports: `${port}-${port}` });
  const tools: Tools = { ...systemTools(), spawn, mayRun: () => true, isFree: () => true };
  return new CloudflaredPlugin(config, SILENT_LOG, tools);
}

const HELLO = inRecords(helloMessage({ extensions: [serverName("db.example.com")] }));
const IPV6_BLOCK = new Uint8Array(36).fill(9);

const headers: readonly (readonly [name: string, header: Uint8Array])[] = [
  ["no header", bytes()],
  ["v1", PROXY_V1],
  ["v1 UNKNOWN", bytes("PROXY UNKNOWN and more\r\n")],
  ["v2", proxyV2(0x21, 0x11, V2_IPV4_BLOCK)],
  ["v2 over IPv6 with TLVs", proxyV2(0x21, 0x21, bytes(IPV6_BLOCK, tlv(0xea, bytes("vpce-1"))))],
  ["v2 LOCAL", proxyV2(0x20, 0x00, bytes())],
];

for (const [name, header] of headers) {
  for (const sslRequested of [false, true]) {
    const what = sslRequested ? "PostgreSQL's SSLRequest" : "TLS";
    Deno.test(`cloudflared: ${name} before ${what} goes through the tunnel as it came`, async () => {
      const seen: Uint8Array[] = [];
      await using service = serveTcp(async (conn) => {
        const before = bytes(header, SSL_REQUEST);
        if (sslRequested) {
          const first = new Uint8Array(before.length);
          for (let at = 0; at < first.length;) {
            at += await conn.read(first.subarray(at)) ?? assert.fail("ended");
          }
          seen.push(first);
          await writeAll(conn, bytes("S"));
        }
        seen.push(await readToEnd(conn));
        await writeAll(conn, bytes("reached"));
      });
      const plugin = tunnelTo(service);
      await using gateway = new TestPlane({ plugins: [plugin], proxyFrom: TRUSTED });
      const client = await gateway.connect();
      await writeAll(client, header);
      if (sslRequested) {
        await writeAll(client, SSL_REQUEST);
        const answer = new Uint8Array(2);
        assert.equal(await client.read(answer), 1);
        assert.equal(answer[0], "S".charCodeAt(0), "one S, the gateway's");
      }
      await writeAll(client, HELLO);
      await until(() => service.accepted === 1, { what: "the tunnel to be used" });
      await client.closeWrite();
      assert.equal(
        new TextDecoder().decode(await readToEnd(client)),
        "reached",
        "and the service's S is not passed on",
      );
      const expected = sslRequested ? bytes(header, SSL_REQUEST, HELLO) : bytes(header, HELLO);
      assert.equal(bytes(...seen).toHex(), expected.toHex());
      closeQuietly(client);
      await plugin[Symbol.asyncDispose]();
    });
  }
}
