import assert from "node:assert/strict";
import { connect as connectNode } from "node:net";
import { writeAll } from "../../../core/byte_stream.ts";
import type { Decision, DialEvent, Plugin } from "../../../core/plugin/contract.ts";
import { readToEnd, serveTcp, startEcho, startSilent } from "../../support/echo.ts";
import { forwardAll, TestPlane } from "../../support/plane.ts";
import { until } from "../../support/until.ts";
import { connectPostgres, HTTP, readExactly, testCertificate } from "./clients.ts";
import { bytes, HELLO } from "./preface/samples.ts";
import { empty, recording } from "./recording.ts";

// --- Ending connections from outside

Deno.test("closing a relayed connection by its id ends both sides of it and nothing else", async () => {
  await using echo = startEcho();
  const { plugin, closed } = recording(() => ({ kind: "forward", to: echo.target }));
  await using gateway = new TestPlane({ plugins: [plugin] });
  using doomed = await gateway.connect();
  using spared = await gateway.connect();
  for (const client of [doomed, spared]) {
    await writeAll(client, bytes(HTTP));
    await readExactly(client, HTTP.length);
  }
  const row = gateway.plane.rows(10).find(({ source }) => source.endsWith(`:${doomed.localAddr.port}`));
  assert.equal(gateway.plane.closeConnection("no such id"), false);
  assert.equal(gateway.plane.closeConnection(row?.id ?? ""), true);
  assert.equal(await doomed.read(new Uint8Array(1)), null);
  await until(() => echo.open === 1, { what: "the upstream's side to be closed" });
  assert.deepEqual(closed.map(({ result }) => result), ["closed_by_admin"]);
  await writeAll(spared, bytes("still here"));
  assert.deepEqual(await readExactly(spared, 10), bytes("still here"));
});

Deno.test("a connection can be closed while a plugin thinks about it: the signal says so, and nothing is dialed", async () => {
  await using echo = startEcho();
  let signal: AbortSignal | undefined;
  const answer = Promise.withResolvers<Decision>();
  const dialed: DialEvent[] = [];
  const plugin: Plugin = {
    route(_, options) {
      signal = options.signal;
      return answer.promise;
    },
    dialed: (event) => void dialed.push(event),
  };
  await using gateway = new TestPlane({ plugins: [plugin] });
  using client = await gateway.connect();
  await writeAll(client, bytes(HTTP));
  await until(() => signal, { what: "the plugin to be asked" });
  gateway.plane.closeConnection(gateway.plane.rows(1)[0]?.id ?? "");
  assert.equal(signal?.aborted, true);
  await empty(gateway);
  answer.resolve({ kind: "forward", to: echo.target });
  assert.equal(await client.read(new Uint8Array(1)), null);
  assert.deepEqual(dialed, []);
  assert.equal(gateway.counted("rejected_total"), 0, "no refusal, and no fault of the plugin");
});

Deno.test("a connection can be closed while its upstream is dialed: no other target is tried for it", async () => {
  await using silent = startSilent();
  await using echo = startEcho();
  const { plugin, dialed, closed } = recording(() => ({ kind: "forward", to: [silent.target, echo.target] }));
  await using gateway = new TestPlane({ plugins: [plugin] });
  using client = await connectPostgres(gateway);
  await writeAll(client, HELLO);
  await until(() => silent.accepted === 1, { what: "the greeting" });
  const [row] = gateway.plane.rows(1);
  assert.deepEqual([row?.state, row?.target], ["dialing", silent.target]);
  gateway.plane.closeConnection(row?.id ?? "");
  assert.equal(await client.read(new Uint8Array(1)), null);
  await empty(gateway);
  assert.deepEqual([dialed.length, echo.accepted], [1, 0]);
  assert.deepEqual(closed.map(({ result }) => result), ["closed_by_admin"]);
});

Deno.test("a connection can be closed before it has said anything", async () => {
  await using gateway = new TestPlane({});
  using client = await gateway.connect();
  await until(() => gateway.plane.size === 1, { what: "the connection" });
  const [row] = gateway.plane.rows(1);
  assert.equal(row?.state, "preface");
  gateway.plane.closeConnection(row?.id ?? "");
  assert.equal(await client.read(new Uint8Array(1)), null);
  await empty(gateway);
  assert.equal(gateway.counted("connections_total", { plugin: "none", result: "closed_by_admin" }), 1);
});

Deno.test("draining: nothing new comes in, what is open goes on to its own end, and all who wait are told", async () => {
  await using echo = startEcho();
  await using gateway = new TestPlane({ plugins: [forwardAll(echo.address.port)] });
  using client = await gateway.connect();
  await writeAll(client, bytes(HTTP));
  await readExactly(client, HTTP.length);
  void gateway.plane.listeners.stop();
  let told = 0;
  const waiting = [gateway.plane.whenEmpty(), gateway.plane.whenEmpty()].map((one) => one.then(() => told++));
  await assert.rejects(
    gateway.connect(),
    (error) => error instanceof Deno.errors.ConnectionRefused || error instanceof Deno.errors.ConnectionReset,
  );
  await writeAll(client, bytes("more"));
  assert.deepEqual(await readExactly(client, 4), bytes("more"));
  assert.equal(told, 0);
  client.close();
  await Promise.all(waiting);
  await gateway.plane.whenEmpty();
});

Deno.test("close() ends all at once, in whatever state, and may be called again", async () => {
  await using echo = startEcho();
  const { plugin, closed } = recording(({ protocol }) => ({
    kind: "forward",
    to: protocol === "http" ? echo.target : "127.0.0.1:1",
  }));
  const gateway = new TestPlane({ plugins: [plugin] });
  const [relaying, silent, justNow] = [
    await gateway.connect(),
    await gateway.connect(),
    await gateway.connect(),
  ];
  await writeAll(relaying, bytes(HTTP));
  await readExactly(relaying, HTTP.length);
  const drained = gateway.plane.whenEmpty();
  await Promise.all([gateway.plane.close(), gateway.plane.close(), drained]);
  await gateway.plane.close();
  for (const client of [relaying, silent, justNow]) {
    assert.equal(await client.read(new Uint8Array(1)).catch(() => null), null);
    client.close();
  }
  assert.equal(gateway.plane.size, 0);
  assert.deepEqual(closed.map(({ result }) => result), ["drained"]);
});

// --- Accepting

/** A gateway that forwards all, and accepts by `accept`, which is given the listener's own. */
function acceptingBy(
  port: number,
  accept: (own: () => Promise<Deno.TcpConn>) => Promise<Deno.TcpConn>,
): TestPlane {
  const listen = Deno.listen;
  const stub = (options: Deno.TcpListenOptions & { transport?: "tcp" }) => {
    const listener = listen(options);
    const own = listener.accept.bind(listener);
    listener.accept = () => accept(own);
    return listener;
  };
  Deno.listen = stub as typeof Deno.listen;
  try {
    return new TestPlane({ plugins: [forwardAll(port)] });
  } finally {
    Deno.listen = listen;
  }
}

Deno.test("clients that reset before they are accepted do not hold up the others", async () => {
  await using echo = startEcho();
  const gate = Promise.withResolvers<void>();
  let failures = 0;
  await using gateway = acceptingBy(echo.address.port, async (own) => {
    await gate.promise;
    return await own().catch((error) => {
      if (error instanceof Deno.errors.NotConnected) failures++;
      throw error;
    });
  });
  await Promise.all(Array.from({ length: 50 }, () => {
    const socket = connectNode(gateway.port, "127.0.0.1", () => socket.resetAndDestroy());
    return new Promise((resolve) => socket.on("close", resolve));
  }));
  const before = performance.now();
  using client = await gateway.connect();
  await writeAll(client, bytes(HTTP));
  gate.resolve();
  await readExactly(client, HTTP.length);
  assert.ok(performance.now() - before < 1000, "a wait of 50 ms for each of them");
  assert.ok(failures > 0, "accepting what was reset does not fail on this system: this test shows nothing");
  assert.deepEqual(gateway.events.filter(({ event }) => event === "accept_failed"), []);
});

Deno.test("accepting goes on after the system is out of file descriptors, which is logged once", async () => {
  let failures = 3;
  await using echo = startEcho();
  await using gateway = acceptingBy(
    echo.address.port,
    (own) => failures-- > 0 ? Promise.reject(new Error("Too many open files (os error 24)")) : own(),
  );
  using client = await gateway.connect();
  await writeAll(client, bytes(HTTP));
  await readExactly(client, HTTP.length);
  const logged = gateway.events.filter(({ event }) => event === "accept_failed");
  assert.deepEqual(logged.map(({ fields }) => fields.reason), ["Too many open files (os error 24)"]);
});

Deno.test("what is accepted in the very moment of close() is closed with the rest", async () => {
  const accepted = Promise.withResolvers<void>();
  const gate = Promise.withResolvers<void>();
  const gateway = acceptingBy(1, async (own) => {
    const conn = await own();
    accepted.resolve();
    await gate.promise;
    return conn;
  });
  using client = await gateway.connect();
  await accepted.promise;
  const closed = gateway.plane.close();
  gate.resolve();
  await closed;
  assert.equal(await client.read(new Uint8Array(1)), null);
  assert.equal(gateway.counted("connections_total", { result: "drained" }), 1, "not by some timeout, later");
});

// --- Ending connections for the plugin that decided on them

/** A real ClientHello for `app.example.com`. */
async function clientHello(): Promise<Uint8Array> {
  const { promise: hello, resolve } = Promise.withResolvers<Uint8Array>();
  await using server = serveTcp(async (conn) => {
    const buffer = new Uint8Array(16_384);
    resolve(buffer.slice(0, await conn.read(buffer) ?? 0));
  });
  const conn = await Deno.connect({ hostname: "127.0.0.1", port: Number(server.target.split(":")[1]) });
  using tls = await Deno.startTls(conn, { hostname: "app.example.com" });
  await tls.handshake().catch(() => {});
  return await hello;
}

interface Stage {
  readonly state: string;
  answer(upstream: string): Decision;
  /** Whether a successor of the plugin is handed it: nobody is going to ask it. */
  readonly isDecided: boolean;
}

const STAGES: readonly Stage[] = [
  { state: "handshake", answer: () => ({ kind: "terminate" }), isDecided: false },
  {
    state: "handshake",
    answer: (to) => ({ kind: "terminate", then: { kind: "forward", to } }),
    isDecided: true,
  },
  // Nobody says "S" there, so the greeting stays unfinished.
  { state: "dialing", answer: (to) => ({ kind: "forward", to }), isDecided: true },
];

for (const { state, answer, isDecided } of STAGES) {
  const what = `a connection in state ${state}${isDecided ? ", decided on," : ""}`;
  Deno.test(`${what} is ended for its plugin, and for no other`, async () => {
    await using silent = serveTcp(async (conn) => void await readToEnd(conn).catch(() => {}));
    const { plugin, asked, closed } = recording(() => answer(silent.target));
    const { material } = await testCertificate();
    await using gateway = new TestPlane({ plugins: [plugin], certificates: [material] });
    using client = await connectPostgres(gateway);
    await writeAll(client, await clientHello());
    await until(() => gateway.plane.rows(1)[0]?.state === state, { what: `state ${state}` });
    const { id = "" } = asked[0] ?? {};
    assert.deepEqual(gateway.plane.openOf("plugin-0").map((info) => info.id), isDecided ? [id] : []);
    assert.deepEqual(gateway.plane.openOf("plugin-1"), []);
    gateway.plane.endForPlugin("plugin-1", id, "access_revoked");
    assert.equal(gateway.plane.rows(1)[0]?.state, state);
    gateway.plane.endForPlugin("plugin-0", id, "access_revoked");
    await empty(gateway);
    gateway.plane.endForPlugin("plugin-0", id, "access_revoked"); // once more does no harm
    assert.deepEqual(closed.map(({ connection, result }) => [connection, result]), [[id, "access_revoked"]]);
    assert.equal(gateway.counted("rejected_total"), 0);
    await until(() => silent.open === 0, { what: "the upstream's side to be closed" });
  });
}

Deno.test("a word that is none becomes closed_by_plugin: it would be the label of a metric", async () => {
  await using silent = serveTcp(async (conn) => void await readToEnd(conn).catch(() => {}));
  const { plugin, asked, closed } = recording(() => ({ kind: "forward", to: silent.target }));
  await using gateway = new TestPlane({ plugins: [plugin] });
  using client = await gateway.connect();
  await writeAll(client, bytes(HTTP));
  await until(() => gateway.plane.rows(1)[0]?.state === "relaying", { what: "the relay" });
  gateway.plane.endForPlugin("plugin-0", asked[0]?.id ?? "", 'x"} 1\n');
  await empty(gateway);
  assert.deepEqual(closed.map(({ result }) => result), ["closed_by_plugin"]);
});
