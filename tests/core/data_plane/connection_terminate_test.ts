import assert from "node:assert/strict";
import { connect as connectNode } from "node:net";
import { connect as connectNodeTls } from "node:tls";
import { writeAll } from "../../../core/byte_stream.ts";
import type { ConnectionInfo, Decision, Terminate } from "../../../core/plugin/contract.ts";
import { createAuthority } from "../../support/certificates.ts";
import { readToEnd, serveTcp, startEcho } from "../../support/echo.ts";
import { TestPlane } from "../../support/plane.ts";
import { until } from "../../support/until.ts";
import {
  ask,
  askText,
  connectPostgres,
  connectTls,
  HTTP,
  INTERNAL_ERROR,
  NO_NAME_HELLO,
  readExactly,
  testCertificate,
  UNRECOGNIZED_NAME,
} from "./clients.ts";
import { bytes, HELLO, helloMessage, inRecords, STARTUP } from "./preface/samples.ts";
import { empty, freePort, loggedResults, recording, recordingServer } from "./recording.ts";

/** A gateway with a certificate for `app.example.com`, whose plugin answers as given. */
async function terminating(answer: (connection: ConnectionInfo) => Decision | undefined, options = {}) {
  const { material } = await testCertificate();
  const recorded = recording(answer);
  const gateway = new TestPlane({ plugins: [recorded.plugin], certificates: [material], ...options });
  return { ...recorded, gateway, [Symbol.asyncDispose]: () => gateway[Symbol.asyncDispose]() };
}

function thenForward(to: string): () => Terminate {
  return () => ({ kind: "terminate", then: { kind: "forward", to } });
}

Deno.test("terminate, then forward: the upstream gets what was inside the TLS", async () => {
  await using upstream = serveTcp(async (conn) => {
    const request = await readToEnd(conn);
    await writeAll(conn, request.toReversed());
  });
  await using behind = await terminating(thenForward(upstream.target));
  using client = await connectTls(behind.gateway);
  await writeAll(client, bytes("abcdef"));
  await client.closeWrite();
  assert.deepEqual(await readToEnd(client), bytes("fedcba"));
  await empty(behind.gateway);
  assert.equal(behind.asked.length, 1);
  assert.deepEqual(behind.closed.map(({ result, bytesIn, bytesOut }) => [result, bytesIn, bytesOut]), [[
    "ok",
    6,
    6,
  ]]);
});

Deno.test("terminate alone: the same plugin is asked again, with what the handshake has shown", async () => {
  await using echo = startEcho();
  await using behind = await terminating(({ terminated }) =>
    terminated ? { kind: "forward", to: echo.target } : { kind: "terminate", minVersion: "TLSv1.3" }
  );
  using client = await connectTls(behind.gateway);
  await writeAll(client, bytes("ping"));
  assert.deepEqual(await readExactly(client, 4), bytes("ping"));
  const [first, second] = behind.asked;
  assert.deepEqual(second, { ...first, terminated: { version: "TLSv1.3" } });
  assert.equal(behind.gateway.counted("connections_active"), 1);
});

Deno.test("PostgreSQL behind terminated TLS is plain for the upstream", async () => {
  await using upstream = recordingServer();
  await using behind = await terminating(thenForward(upstream.target));
  using client = await connectTls(behind.gateway, await connectPostgres(behind.gateway));
  await writeAll(client, STARTUP);
  await client.closeWrite();
  await readToEnd(client);
  await empty(behind.gateway);
  assert.deepEqual(upstream.seen, [STARTUP]);
});

const INNER: readonly { name: string; decision: () => Decision; answer: RegExp }[] = [
  {
    name: "a target that refuses",
    decision: () => thenForward(`127.0.0.1:${freePort()}`)(),
    answer: /^HTTP\/1\.1 502 /,
  },
  {
    name: "a plugin's timeout",
    decision: () => ({ kind: "terminate", then: { kind: "reject", reason: "timeout" } }),
    answer: /^HTTP\/1\.1 504 /,
  },
  {
    name: "forbidden",
    decision: () => ({ kind: "terminate", then: { kind: "reject", reason: "forbidden" } }),
    answer: /^HTTP\/1\.1 403 /,
  },
];

for (const { name, decision, answer } of INNER) {
  Deno.test(`${name} behind terminated TLS is told in HTTP within it`, async () => {
    await using behind = await terminating(decision);
    using client = await connectTls(behind.gateway);
    await writeAll(client, bytes(HTTP));
    assert.match(new TextDecoder().decode(await readToEnd(client)), answer);
  });
}

Deno.test("PostgreSQL behind terminated TLS is refused by an error packet within it", async () => {
  await using behind = await terminating(thenForward(`127.0.0.1:${freePort()}`));
  using client = await connectTls(behind.gateway, await connectPostgres(behind.gateway));
  assert.match(new TextDecoder().decode(await readToEnd(client)), /^E[^]*C08006/);
});

Deno.test("a plugin that takes the connection no more behind the handshake has forbidden it", async () => {
  await using behind = await terminating(({ terminated }) => terminated ? undefined : { kind: "terminate" });
  using client = await connectTls(behind.gateway);
  await writeAll(client, bytes(HTTP));
  assert.match(new TextDecoder().decode(await readToEnd(client)), /^HTTP\/1\.1 403 /);
  client.close();
  await empty(behind.gateway);
  assert.equal(behind.closed.length, 1);
});

Deno.test("a plugin that answers terminate for ever is refused", async () => {
  await using behind = await terminating(() => ({ kind: "terminate" }));
  using client = await connectTls(behind.gateway);
  await writeAll(client, bytes(HTTP));
  assert.match(new TextDecoder().decode(await readToEnd(client)), /^HTTP\/1\.1 501 /);
});

for (const leave of ["stays silent", "leaves", "resets"] as const) {
  Deno.test(`a client that is refused within its TLS and ${leave} does no harm`, async () => {
    await using behind = await terminating(thenForward(`127.0.0.1:${freePort()}`));
    const { gateway } = behind;
    const conn = leave === "resets" ? await relayedByNode(gateway.port) : undefined;
    using client = await connectTls(gateway, conn?.near ?? await gateway.connect());
    await until(() => gateway.counted("rejected_total", { reason: "connect_failed" }) === 1, {
      what: "the refusal",
    });
    if (leave === "leaves") client.close();
    conn?.reset();
    await empty(gateway);
    assert.deepEqual(behind.closed.map(({ result }) => result), ["connect_failed"]);
    conn?.close();
    // The gateway is still there for others.
    assert.deepEqual([...await ask(gateway, HELLO)], UNRECOGNIZED_NAME);
  });
}

/** A connection to `port` by way of a node socket, which can be reset. */
async function relayedByNode(port: number) {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const near = await Deno.connect({ hostname: "127.0.0.1", port: listener.addr.port });
  const middle = await listener.accept();
  listener.close();
  const far = connectNode(port, "127.0.0.1");
  far.on("error", () => {});
  far.on("data", (chunk) => void writeAll(middle, chunk).catch(() => {}));
  (async () => {
    const buffer = new Uint8Array(4096);
    for (let n; (n = await middle.read(buffer)) !== null;) far.write(buffer.slice(0, n));
  })().catch(() => {});
  return {
    near,
    reset: () => far.resetAndDestroy(),
    close() {
      middle.close();
    },
  };
}

Deno.test("there is no certificate for a name that the gateway was given none for", async () => {
  await using behind = await terminating(() => ({ kind: "terminate" }));
  assert.deepEqual([...await ask(behind.gateway, HELLO)], UNRECOGNIZED_NAME);
  assert.deepEqual([...await ask(behind.gateway, NO_NAME_HELLO)], UNRECOGNIZED_NAME);
  assert.equal(behind.gateway.counted("rejected_total", { reason: "unknown_name" }), 1);
  assert.equal(behind.gateway.counted("rejected_total", { reason: "no_server_name" }), 1);
});

Deno.test("what has no TLS cannot be terminated", async () => {
  await using behind = await terminating(() => ({ kind: "terminate" }));
  assert.match(await askText(behind.gateway, HTTP), /^HTTP\/1\.1 501 /);
});

for (
  const { name, version, issued, told, result } of [
    {
      name: "no certificate",
      version: "TLSv1.3",
      issued: false,
      told: "ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED",
      result: "tls_no_certificate",
    },
    {
      name: "a certificate of another CA",
      version: "TLSv1.2",
      issued: true,
      told: "ALERT_UNKNOWN_CA",
      result: "tls_bad_certificate",
    },
    {
      name: "a certificate of another CA",
      version: "TLSv1.3",
      issued: true,
      told: "HTTP/1.1 403 ",
      result: "tls_bad_certificate",
    },
  ] as const
) {
  Deno.test(`a client with ${name} (${version}) is told so, is counted as ${result}, and reaches nothing`, async () => {
    const { authority } = await testCertificate();
    await using upstream = recordingServer();
    await using behind = await terminating(() => ({
      ...thenForward(upstream.target)(),
      clientCertificate: { mode: "require", ca: authority.certificate },
    }));
    const stranger = issued ? await (await createAuthority()).issue({ usage: "client" }) : undefined;
    const heard = await new Promise<string>((resolve) => {
      const socket = connectNodeTls({
        port: behind.gateway.port,
        host: "127.0.0.1",
        servername: "app.example.com",
        ca: authority.certificate,
        maxVersion: version,
        ...(stranger && { cert: stranger.certificate, key: stranger.key }),
      }, () => socket.write(HTTP));
      let text = "";
      socket.on("data", (chunk: Uint8Array) => text += new TextDecoder().decode(chunk));
      socket.on("error", (error: Error & { code?: string }) => text += error.code ?? error.message);
      socket.on("close", () => resolve(text));
      socket.on("end", () => socket.end());
    });
    assert.ok(heard.includes(told), heard);
    await empty(behind.gateway);
    assert.equal(upstream.accepted, 0);
    assert.deepEqual(behind.closed.map((event) => event.result), [result]);
    assert.equal(behind.gateway.counted("rejected_total", { reason: result }), 1);
    assert.deepEqual(loggedResults(behind.gateway, "connection_refused"), [result]);
  });
}

Deno.test("a CA that is no CA is the plugin's fault: the client gets an alert, and nobody gets in", async () => {
  const clientCertificate = { mode: "require" as const, ca: "not a certificate" };
  await using behind = await terminating(() => ({ kind: "terminate", clientCertificate }));
  const hello = inRecords(helloMessage({
    extensions: [Uint8Array.fromHex("0000001400120000" + "0f" + bytes("app.example.com").toHex())],
  }));
  assert.deepEqual([...await ask(behind.gateway, hello)], INTERNAL_ERROR);
  assert.equal(behind.gateway.events.filter(({ event }) => event === "plugin_fault").length, 1);
});
