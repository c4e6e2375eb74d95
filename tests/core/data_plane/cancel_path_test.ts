import assert from "node:assert/strict";
import { writeAll } from "../../../core/byte_stream.ts";
import { type CancelKey, encodeCancelRequest } from "../../../core/data_plane/preface/postgres.ts";
import { parseProxyHeader } from "../../../core/data_plane/preface/proxy_protocol.ts";
import type { Decision, Forward } from "../../../core/plugin/contract.ts";
import { readToEnd, serveTcp, type TestServer } from "../../support/echo.ts";
import { TestPlane } from "../../support/plane.ts";
import { until } from "../../support/until.ts";
import { backendKeyData, LOGIN, message } from "./backend_messages.ts";
import { ask, connectPostgres, connectTls, readExactly, testCertificate } from "./clients.ts";
import { bytes, STARTUP } from "./preface/samples.ts";
import { empty, freePort, type Recording, recording } from "./recording.ts";

const KEY: CancelKey = { processId: 4711, secret: Uint8Array.of(1, 2, 3, 4) };
const LONG: CancelKey = { processId: 4712, secret: new Uint8Array(256).map((_, i) => 255 - i) };
const WRONG: CancelKey = { processId: 4711, secret: Uint8Array.of(1, 2, 3, 5) };
const READY = message("Z", "I");

interface Backend extends TestServer {
  /** What came in place of a StartupMessage, whole connections. */
  readonly cancels: readonly Uint8Array[];
}

/** A PostgreSQL server that gives every session the same key, and closes on what is no StartupMessage. */
function backend(
  key: CancelKey,
  { login = bytes(LOGIN, backendKeyData(key), READY), step = 65536 } = {},
): Backend {
  const cancels: Uint8Array[] = [];
  const server = serveTcp(async (conn) => {
    const first = new Uint8Array(1024);
    const length = await conn.read(first) ?? 0;
    const opening = first.subarray(0, length);
    if (!bytes(STARTUP).every((byte, i) => opening[i] === byte)) {
      cancels.push(opening.slice());
      return;
    }
    conn.setNoDelay();
    for (let at = 0; at < login.length; at += step) await writeAll(conn, login.subarray(at, at + step));
    await readToEnd(conn);
  });
  return Object.create(server, Object.getOwnPropertyDescriptors({ cancels }));
}

interface Gateway extends Recording, AsyncDisposable {
  readonly gateway: TestPlane;
}

/** A gateway that terminates the TLS of everybody, and forwards as given; what comes in plain text, it declines. */
async function terminating(forward: Partial<Forward> & Pick<Forward, "to">): Promise<Gateway> {
  const { material } = await testCertificate();
  const recorded = recording((connection): Decision | undefined =>
    connection.tls && {
      kind: "terminate",
      alpn: ["postgresql"],
      then: { kind: "forward", ...forward },
    }
  );
  const gateway = new TestPlane({ plugins: [recorded.plugin], certificates: [material] });
  return { ...recorded, gateway, [Symbol.asyncDispose]: () => gateway[Symbol.asyncDispose]() };
}

/** Opens a session and reads the whole login. */
async function logIn(gateway: TestPlane, length = bytes(LOGIN, backendKeyData(KEY), READY).length) {
  const client = await connectTls(gateway, await connectPostgres(gateway));
  await writeAll(client, STARTUP);
  return { client, login: await readExactly(client, length) };
}

async function cancel(gateway: TestPlane, key: CancelKey): Promise<Uint8Array> {
  return await ask(gateway, encodeCancelRequest(key));
}

for (
  const { name, key, step } of [{ name: "4 bytes", key: KEY }, { name: "256 bytes", key: LONG }, {
    name: "4 bytes, told byte by byte",
    key: KEY,
    step: 1,
  }]
) {
  Deno.test(`a plain-text CancelRequest with a key of ${name} gets to the server of its session`, async () => {
    await using server = backend(key, { ...(step && { step }) });
    await using behind = await terminating({ to: server.target });
    const { gateway } = behind;
    const expected = bytes(LOGIN, backendKeyData(key), READY);
    const { client, login } = await logIn(gateway, expected.length);
    assert.deepEqual(login, expected, "every byte of the login is the server's own");
    assert.deepEqual(await cancel(gateway, key), new Uint8Array(), "it has no answer");
    assert.deepEqual(server.cancels, [encodeCancelRequest(key)]);
    client.close();
    await empty(gateway);
    assert.equal(behind.asked.length, 1, "no plugin was asked");
    assert.deepEqual([behind.dialed.length, behind.closed.length], [1, 1], "nor told");
    assert.equal(gateway.counted("connections_total", { result: "postgres_cancel", plugin: "none" }), 1);
    const logged = gateway.events.filter(({ event }) => event === "postgres_cancel");
    assert.equal(logged[0]?.fields.target, server.target);
    const secret = `${key.secret.toHex()}|${key.secret.toBase64()}|${[...key.secret].join(",?")}`;
    assert.doesNotMatch(JSON.stringify(gateway.events), new RegExp(secret.replaceAll("+", "\\+")));
  });
}

Deno.test("a session that has ended is nobody's: its key is refused like any other, without a byte", async () => {
  await using server = backend(KEY);
  await using behind = await terminating({ to: server.target });
  const { gateway } = behind;
  const { client } = await logIn(gateway);
  assert.equal(gateway.plane.cancels.keys.size, 1);
  client.close();
  await empty(gateway);
  assert.equal(gateway.plane.cancels.keys.size, 0);
  assert.deepEqual(await cancel(gateway, KEY), new Uint8Array());
  assert.deepEqual(server.cancels, []);
  assert.equal(gateway.counted("rejected_total", { reason: "no_route" }), 1);
});

for (const close of ["server", "admin"] as const) {
  Deno.test(`the key is forgotten when the ${close} ends the session`, async () => {
    await using server = backend(KEY);
    await using behind = await terminating({ to: server.target });
    const { client } = await logIn(behind.gateway);
    if (close === "admin") behind.gateway.plane.closeConnection(behind.gateway.plane.rows(1)[0]?.id ?? "");
    else await server[Symbol.asyncDispose]();
    await readToEnd(client).catch(() => {});
    client.close();
    await empty(behind.gateway);
    assert.equal(behind.gateway.plane.cancels.keys.size, 0);
  });
}

Deno.test("a wrong key gets nowhere, and the session goes on", async () => {
  await using server = backend(KEY);
  await using behind = await terminating({ to: server.target });
  const { client } = await logIn(behind.gateway);
  for (const key of [WRONG, LONG]) assert.deepEqual(await cancel(behind.gateway, key), new Uint8Array());
  assert.equal(server.accepted, 1);
  await writeAll(client, message("Q", "SELECT 1\0"));
  assert.equal(server.open, 1);
  client.close();
});

Deno.test("guesses of one stranger are logged once", async () => {
  await using behind = await terminating({ to: `127.0.0.1:${freePort()}` });
  for (let i = 0; i < 5; i++) await cancel(behind.gateway, { ...KEY, processId: i });
  await empty(behind.gateway);
  assert.equal(behind.gateway.events.filter(({ event }) => event === "connection_refused").length, 1);
  assert.equal(behind.gateway.counted("rejected_total", { reason: "no_route" }), 5);
});

for (
  const [name, decision] of [
    ["takes it", undefined],
    ["forwards it to nobody", { kind: "forward", to: "127.0.0.1:1" }],
    ["rejects it", { kind: "reject", reason: "forbidden" }],
  ] as [string, Decision | undefined][]
) {
  Deno.test(`a CancelRequest for a session that is not known has no answer when ${decision ? "a" : "no"} plugin ${name}`, async () => {
    const recorded = recording(() => decision);
    await using gateway = new TestPlane({ plugins: [recorded.plugin] });
    assert.deepEqual(await cancel(gateway, KEY), new Uint8Array());
    assert.equal(recorded.asked[0]?.protocol, "postgres");
  });
}

Deno.test("a CancelRequest for a session that is not known goes where a plugin sends it", async () => {
  await using server = backend(KEY);
  await using gateway = new TestPlane({
    plugins: [recording(() => ({ kind: "forward", to: server.target })).plugin],
  });
  await cancel(gateway, KEY);
  assert.deepEqual(server.cancels, [encodeCancelRequest(KEY)]);
});

Deno.test("of several targets, the one that has the session gets the CancelRequest", async () => {
  await using server = backend(KEY);
  await using other = backend(KEY);
  await using behind = await terminating({ to: [`127.0.0.1:${freePort()}`, server.target, other.target] });
  const { client } = await logIn(behind.gateway);
  await cancel(behind.gateway, KEY);
  assert.deepEqual([server.cancels.length, other.accepted], [1, 0]);
  client.close();
});

Deno.test("a CancelRequest comes behind a PROXY header of its own when its session did, and alone", async () => {
  const cancels: Uint8Array[] = [];
  await using server = serveTcp(async (conn) => {
    const first = new Uint8Array(1024);
    const length = await conn.read(first) ?? 0;
    const header = parseProxyHeader(first.subarray(0, length));
    assert.ok(header.kind === "yes" && header.value.source);
    const rest = first.slice(header.length, length);
    if (rest.length > 16) {
      await writeAll(conn, bytes(LOGIN, backendKeyData(KEY), READY));
      await readToEnd(conn);
    } else cancels.push(rest, bytes(String(header.value.source.port)));
  });
  await using behind = await terminating({ to: server.target, proxyProtocol: "v2" });
  const { client } = await logIn(behind.gateway);
  using canceller = await behind.gateway.connect();
  await writeAll(canceller, bytes(encodeCancelRequest(KEY), "and more"));
  await readToEnd(canceller).catch(() => {});
  assert.deepEqual(cancels, [encodeCancelRequest(KEY), bytes(String(canceller.localAddr.port))]);
  client.close();
});

Deno.test("a session by direct TLS (ALPN postgresql) can be cancelled, and what is no PostgreSQL is not watched", async () => {
  await using server = backend(KEY);
  await using behind = await terminating({ to: server.target });
  const { gateway } = behind;
  const { authority } = await testCertificate();
  for (const [alpnProtocols, watched] of [[["postgresql"], 1], [[], 0]] as const) {
    using client = await Deno.startTls(await gateway.connect(), {
      hostname: "app.example.com",
      caCerts: [authority.certificate],
      alpnProtocols: [...alpnProtocols],
    });
    await writeAll(client, STARTUP);
    await readExactly(client, LOGIN.length);
    assert.equal(gateway.plane.cancels.keys.size, watched);
    client.close();
    await empty(gateway);
  }
});

const ODD = {
  garbage: bytes("HTTP/1.1 400 Bad Request\r\n\r\n"),
  "a refusal": message("E", "SFATAL\0C28P01\0\0"),
  "a key of no length": bytes(LOGIN, message("K", 0, 0, 0, 1), READY),
};
for (const [name, login] of Object.entries(ODD)) {
  Deno.test(`a server that says ${name} is relayed as it is, and remembered by nothing`, async () => {
    await using server = backend(KEY, { login });
    await using behind = await terminating({ to: server.target });
    const { client, login: seen } = await logIn(behind.gateway, login.length);
    assert.deepEqual(seen, login);
    assert.equal(behind.gateway.plane.cancels.keys.size, 0);
    client.close();
  });
}

Deno.test("a CancelRequest that its server does not close ends with the time that a connection has to come about", async () => {
  const { promise: held, resolve } = Promise.withResolvers<void>();
  let sessions = 0;
  await using server = serveTcp(async (conn) => {
    await conn.read(new Uint8Array(1024));
    if (++sessions > 1) return await held;
    await writeAll(conn, bytes(LOGIN, backendKeyData(KEY), READY));
    await readToEnd(conn);
  });
  const { material } = await testCertificate();
  const { plugin } = recording(() => ({ kind: "terminate", then: { kind: "forward", to: server.target } }));
  await using gateway = new TestPlane({
    plugins: [plugin],
    certificates: [material],
    traits: { routeTimeoutMs: 50 },
    limits: { prefaceTimeoutMs: 500, connectTimeoutMs: 50 },
  });
  const { client } = await logIn(gateway);
  assert.deepEqual(await cancel(gateway, KEY).catch(() => new Uint8Array()), new Uint8Array());
  await until(() => gateway.counted("rejected_total", { reason: "setup_timeout" }) === 1, {
    what: "its end",
  });
  assert.equal(gateway.events.filter(({ event }) => event === "postgres_cancel").length, 0);
  client.close();
  resolve();
});
