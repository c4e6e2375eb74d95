/** However a ClientHello is cut, over segments or records: it never skips the client certificate. */
import assert from "node:assert/strict";
import type { Plugin } from "../../core/plugin/contract.ts";
import {
  bytes,
  helloMessage,
  inRecords,
  serverName,
  SSL_REQUEST,
} from "../core/data_plane/preface/samples.ts";
import { startEcho } from "../support/echo.ts";
import { alertIn, exchange } from "../support/wire.ts";
import { MtlsPlane, NAME, recutting, visit } from "./mtls_plane.ts";

/** Takes whatever gets to it: to be behind the plugin must open nothing. */
function catchAll(to: string): Plugin {
  return { route: () => ({ kind: "forward", to }) };
}

/** The handshake message within a record. */
function messageOf(record: Uint8Array): Uint8Array {
  return record.subarray(5);
}

const ways: readonly {
  readonly name: string;
  /** How often a hello of `length` bytes can be cut this way. */
  readonly cuts: (length: number) => number;
  readonly cut: (hello: Uint8Array, at: number) => readonly Uint8Array[];
}[] = [
  {
    name: "in two segments, cut at every point",
    cuts: (length) => length - 1,
    cut: (hello, at) => [hello.subarray(0, at + 1), hello.subarray(at + 1)],
  },
  {
    name: "in two records, cut at every point",
    cuts: (length) => length - 6,
    cut: (hello, at) => [inRecords(messageOf(hello), at + 1, hello.length)],
  },
  {
    name: "in records of a few bytes",
    cuts: () => 8,
    cut: (hello, at) => [inRecords(messageOf(hello), at + 1)],
  },
  { name: "a byte a segment", cuts: () => 1, cut: (hello) => Array.from(hello, (byte) => bytes(byte)) },
  {
    name: "a byte a record, a byte a segment",
    cuts: () => 1,
    cut: (hello) => Array.from(inRecords(messageOf(hello), 1), (byte) => bytes(byte)),
  },
];

for (const { name, cuts, cut } of ways) {
  Deno.test(`a hello ${name}: nobody skips mTLS by it, and who has a certificate gets in`, async () => {
    await using host = startEcho();
    await using other = startEcho();
    await using gateway = await MtlsPlane.start({ to: host.target, behind: [catchAll(other.target)] });
    const certificate = await gateway.issue("alice");
    let at = 0;
    let most = 1;
    await using between = recutting(gateway, (hello) => {
      most = cuts(hello.length);
      return cut(hello, at);
    });
    const { port } = between.address;
    let visits = 0;
    for (; at < most; at++, visits++) {
      const options = { ca: gateway.serverCa, port };
      assert.notEqual(await visit(options), "ping", `let in without a certificate, cut ${at} of ${most}`);
      assert.equal(host.accepted, visits, `reached without a certificate, cut ${at}`);
      assert.equal(await visit({ ...options, certificate }), "ping", `kept out, cut ${at} of ${most}`);
    }
    assert.equal(visits, most);
    assert.equal(other.accepted, 0, "none is brought to who is asked behind the plugin");
    assert.deepEqual(
      gateway.lines().map(({ reason }) => reason ?? "in"),
      Array.from({ length: visits }, () => ["tls_no_certificate", "in"]).flat(),
    );
  });
}

const HELLO = inRecords(helloMessage({ extensions: [serverName(NAME)] }));

for (const first of [bytes(), SSL_REQUEST]) {
  const where = first.length === 0 ? "" : " behind an SSLRequest";
  Deno.test(`a hello${where} that ends anywhere before its end, and one over the limit, reach nobody`, async () => {
    await using host = startEcho();
    await using gateway = await MtlsPlane.start({
      to: host.target,
      behind: [catchAll(host.target)],
      limits: { maxPrefaceBytes: 4096 },
    });
    const send = async (hello: Uint8Array) => {
      using client = await gateway.connect();
      const answer = new Uint8Array(100);
      await client.write(first);
      if (first.length > 0) await client.read(answer);
      await client.write(hello);
      await client.closeWrite();
      for (let n; (n = await client.read(answer).catch(() => null)) !== null;) assert.notEqual(n, 0);
    };
    for (let at = 1; at < HELLO.length; at++) await send(HELLO.subarray(0, at));
    const filler = serverName("x".repeat(200));
    const long = helloMessage({ extensions: [...Array(30).fill(filler), serverName(NAME)] });
    await send(inRecords(long));
    assert.equal(host.accepted, 0);
    assert.equal(gateway.lines().length, 0, "and nobody was asked for a certificate");
    if (first.length === 0) assert.equal(alertIn(await exchange(gateway, inRecords(long))), 50);
  });
}
