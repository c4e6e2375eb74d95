import assert from "node:assert/strict";
import { AdminGuard, ForbiddenTarget } from "../../../core/data_plane/admin_guard.ts";
import { Dialer } from "../../../core/data_plane/dial.ts";
import { startSilent } from "../../support/echo.ts";
import { FakeClock } from "./fake_clock.ts";

const NEVER = new AbortController().signal;

/** A port on loopback where nobody listens. */
function freePort(hostname = "127.0.0.1"): number {
  const listener = Deno.listen({ hostname, port: 0 });
  const { port } = listener.addr;
  listener.close();
  return port;
}

/** What the dialer connects with, up to the disposal. */
class StubbedConnect implements Disposable {
  readonly #real = Deno.connect;
  readonly tried: string[] = [];

  /** @param connect By address; what it does not know is silent until it is aborted. */
  constructor(connect: Readonly<Record<string, () => Promise<Deno.TcpConn>>>) {
    const stub = ({ hostname, signal }: Deno.ConnectOptions): Promise<Deno.TcpConn> => {
      const address = hostname ?? "";
      if (signal?.aborted) return Promise.reject(signal.reason);
      this.tried.push(address);
      return connect[address]?.() ??
        new Promise((_, reject) => signal?.addEventListener("abort", () => reject(signal.reason)));
    };
    Deno.connect = stub as typeof Deno.connect;
  }

  get real(): typeof Deno.connect {
    return this.#real;
  }

  [Symbol.dispose](): void {
    Deno.connect = this.#real;
  }
}

Deno.test("an address is dialed without a look-up", async () => {
  await using server = startSilent();
  const dialer = new Dialer(() => assert.fail("looked up"));
  const conn = await dialer.dial({ host: "127.0.0.1", port: server.address.port }, NEVER);
  assert.equal(conn.remoteAddr.port, server.address.port);
  conn.close();
});

Deno.test("localhost is found by the system's resolver", {
  ignore: Deno.permissions.querySync({ name: "net" }).state !== "granted",
}, async () => {
  await using server = startSilent();
  const conn = await new Dialer().dial({ host: "localhost", port: server.address.port }, NEVER);
  conn.close();
});

Deno.test("a connection that has met itself is closed, and counts as refused", async () => {
  const self = { transport: "tcp", hostname: "127.0.0.1", port: 45_000 } as const;
  let closed = 0;
  const conn = { localAddr: self, remoteAddr: self, close: () => closed++ } as unknown as Deno.TcpConn;
  using _ = new StubbedConnect({ "127.0.0.1": () => Promise.resolve(conn) });
  const dialing = new Dialer().dial({ host: "127.0.0.1", port: self.port }, NEVER);
  await assert.rejects(dialing, { code: "dial-failed", message: "Connection refused" });
  assert.equal(closed, 1);
});

Deno.test("a target that refuses is dial-failed", async () => {
  const dialing = new Dialer().dial({ host: "127.0.0.1", port: freePort() }, NEVER);
  await assert.rejects(dialing, { name: "GatewayError", code: "dial-failed", message: /refused/i });
});

Deno.test("a name that is not known is dial-failed", async () => {
  const dialer = new Dialer(() => Promise.reject(new Error("no such host")));
  await assert.rejects(dialer.dial({ host: "nowhere.example", port: 1 }, NEVER), {
    code: "dial-failed",
    message: "no such host",
  });
});

Deno.test("a target that stays silent is dial-timeout when the time is over", async () => {
  using _connect = new StubbedConnect({});
  const controller = new AbortController();
  const dialing = new Dialer().dial({ host: "192.0.2.1", port: 1 }, controller.signal);
  controller.abort();
  await assert.rejects(dialing, { code: "dial-timeout", message: "No answer in time" });
});

Deno.test("a listener whose backlog is full is dial-timeout", async () => {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0, tcpBacklog: 1 });
  const { port } = listener.addr;
  const waiting: Deno.TcpConn[] = [];
  let timedOut = 0;
  for (let i = 0; i < 8 && timedOut === 0; i++) {
    try {
      waiting.push(await new Dialer().dial({ host: "127.0.0.1", port }, AbortSignal.timeout(100)));
    } catch (error) {
      assert.equal((error as { code?: string }).code, "dial-timeout");
      timedOut++;
    }
  }
  assert.equal(timedOut, 1);
  waiting.forEach((conn) => conn.close());
  listener.close();
});

Deno.test("a look-up that takes too long is dial-timeout as well: the resolver has times of its own", async () => {
  const dialer = new Dialer(() => new Promise(() => {}));
  const controller = new AbortController();
  const dialing = dialer.dial({ host: "slow.example", port: 1 }, controller.signal);
  controller.abort();
  await assert.rejects(dialing, { code: "dial-timeout" });
  await assert.rejects(dialer.dial({ host: "slow.example", port: 1 }, controller.signal), {
    code: "dial-timeout",
  });
});

Deno.test("a name is looked up once for a while, also by dials that come at the same time", async () => {
  const asked: string[] = [];
  const dialer = new Dialer((name) => {
    asked.push(name);
    return Promise.resolve(["127.0.0.1"]);
  });
  await using server = startSilent();
  const dial = (host: string) => dialer.dial({ host, port: server.address.port }, NEVER);
  const conns = await Promise.all([dial("a.example"), dial("a.example"), dial("b.example")]);
  conns.push(await dial("a.example"));
  assert.deepEqual(asked, ["a.example", "b.example"]);
  conns.forEach((conn) => conn.close());
});

Deno.test("what a name stood for is not believed for ever, and a failed look-up not at all", async () => {
  using connect = new StubbedConnect({ "192.0.2.1": () => refused(), "192.0.2.2": () => refused() });
  const answers = [
    () => ["192.0.2.1"],
    () => ["192.0.2.2"],
    () => assert.fail("unknown"),
    () => ["192.0.2.2"],
  ];
  const dialer = new Dialer(() => Promise.resolve().then(() => (answers.shift() ?? assert.fail)() ?? []));
  const dial = () => assert.rejects(dialer.dial({ host: "a.example", port: 1 }, NEVER));
  {
    using clock = new FakeClock();
    await dial();
    clock.advance(9_999);
    await dial();
    clock.advance(1);
    await dial();
    clock.advance(10_000);
    await dial();
    await dial();
  }
  assert.deepEqual(connect.tried, ["192.0.2.1", "192.0.2.1", "192.0.2.2", "192.0.2.2"]);
});

function refused(): Promise<Deno.TcpConn> {
  return Promise.reject(new Deno.errors.ConnectionRefused("Connection refused"));
}

Deno.test("of several addresses, one that refuses hands over to the next at once", async () => {
  await using server = startSilent();
  using clock = new FakeClock(); // which stands still: nothing may wait for time
  const dialer = new Dialer(() => Promise.resolve(["::1", "127.0.0.1"]));
  const conn = await dialer.dial({ host: "both.example", port: server.address.port }, NEVER);
  assert.equal(conn.remoteAddr.hostname, "127.0.0.1");
  conn.close();
  assert.equal(clock.timers, 0);
});

Deno.test("addresses that stay silent are tried beside each other, each a little later than the one before", async () => {
  using connect = new StubbedConnect({});
  const addresses = ["192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4"];
  const dialer = new Dialer(() => Promise.resolve(addresses));
  const controller = new AbortController();
  const clock = new FakeClock();
  const dialing = dialer.dial({ host: "many.example", port: 1 }, controller.signal);
  await turns();
  for (let tried = 1; tried < addresses.length; tried++) {
    clock.advance(249);
    await turns();
    assert.deepEqual(connect.tried, addresses.slice(0, tried));
    clock.advance(1);
    await turns();
  }
  assert.deepEqual(connect.tried, addresses);
  controller.abort();
  await assert.rejects(dialing, { code: "dial-timeout" });
  assert.equal(clock.timers, 0);
  clock[Symbol.dispose]();
});

/** Lets everything run that waits for promises alone. */
async function turns(): Promise<void> {
  for (let i = 0; i < 50; i++) await Promise.resolve();
}

Deno.test("the first to connect wins, and what connects behind it is closed", async () => {
  await using server = startSilent();
  const [slow, fast] = [Promise.withResolvers<Deno.TcpConn>(), Promise.withResolvers<Deno.TcpConn>()];
  using connect = new StubbedConnect({ "192.0.2.1": () => slow.promise, "192.0.2.2": () => fast.promise });
  const open = () => connect.real({ hostname: "127.0.0.1", port: server.address.port });
  const [first, second] = [await open(), await open()];
  const clock = new FakeClock();
  const dialing = new Dialer(() => Promise.resolve(["192.0.2.1", "192.0.2.2", "192.0.2.3"]))
    .dial({ host: "two.example", port: 1 }, NEVER);
  await turns();
  clock.advance(250);
  await turns();
  fast.resolve(second);
  assert.equal(await dialing, second);
  slow.resolve(first);
  await turns();
  assert.throws(() => first.close(), Deno.errors.BadResource);
  assert.deepEqual(connect.tried, ["192.0.2.1", "192.0.2.2"], "nothing more is tried");
  assert.equal(clock.timers, 0);
  clock[Symbol.dispose]();
  second.close();
});

Deno.test("when all fail, the first failure is told: later addresses are second best", async () => {
  const failures = { "192.0.2.1": "first", "192.0.2.2": "second" };
  using _connect = new StubbedConnect(Object.fromEntries(
    Object.entries(failures).map(([address, text]) => [address, () => Promise.reject(new Error(text))]),
  ));
  const dialer = new Dialer(() => Promise.resolve(Object.keys(failures)));
  await assert.rejects(dialer.dial({ host: "two.example", port: 1 }, NEVER), {
    code: "dial-failed",
    message: "first",
  });
});

const REFUSED = () => Promise.reject(new Deno.errors.ConnectionRefused("Connection refused"));

Deno.test("a target that refuses is tried again, with growing pauses, until it is there", async () => {
  await using server = startSilent();
  let left = 8;
  using connect: StubbedConnect = new StubbedConnect({
    "192.0.2.1": () =>
      left-- > 0 ? REFUSED() : connect.real({ hostname: "127.0.0.1", port: server.address.port }),
  });
  const clock = new FakeClock();
  const dialing = new Dialer().dial({ host: "192.0.2.1", port: 1 }, NEVER, { retryMs: 10_000 });
  const pauses = [5, 10, 15, 20, 25, 25, 25, 25];
  for (const [i, pause] of pauses.entries()) {
    await turns();
    assert.equal(connect.tried.length, i + 1);
    clock.advance(pause - 1);
    await turns();
    assert.equal(connect.tried.length, i + 1, `not before ${pause} ms`);
    clock.advance(1);
  }
  (await dialing).close();
  assert.equal(clock.timers, 0);
  clock[Symbol.dispose]();
});

Deno.test("a target that refuses for longer than it may is dial-failed", async () => {
  using connect = new StubbedConnect({ "192.0.2.1": REFUSED });
  const clock = new FakeClock();
  const dialing = new Dialer().dial({ host: "192.0.2.1", port: 1 }, NEVER, { retryMs: 29 });
  dialing.catch(() => {});
  for (let ms = 0; ms < 29; ms++) {
    await turns();
    clock.advance(1);
  }
  await assert.rejects(dialing, { code: "dial-failed", message: "Connection refused" });
  assert.equal(connect.tried.length, 3); // at 0, 5 and 15 ms; the next would be at 30
  assert.equal(clock.timers, 0);
  clock[Symbol.dispose]();
});

Deno.test("only a refusal is tried again", async () => {
  using connect = new StubbedConnect({ "192.0.2.1": () => Promise.reject(new Error("No route to host")) });
  const dialing = new Dialer().dial({ host: "192.0.2.1", port: 1 }, NEVER, { retryMs: 10_000 });
  await assert.rejects(dialing, { code: "dial-failed", message: "No route to host" });
  assert.equal(connect.tried.length, 1);
});

Deno.test("a pause between two tries ends at once when the attempt is aborted", async () => {
  using connect = new StubbedConnect({ "192.0.2.1": REFUSED });
  const clock = new FakeClock();
  const controller = new AbortController();
  const dialing = new Dialer().dial({ host: "192.0.2.1", port: 1 }, controller.signal, { retryMs: 10_000 });
  await turns();
  assert.equal(clock.timers, 1);
  controller.abort();
  await assert.rejects(dialing, { code: "dial-timeout" });
  assert.equal(connect.tried.length, 1);
  assert.equal(clock.timers, 0);
  clock[Symbol.dispose]();
});

for (const host of ["127.0.0.1", "::ffff:127.0.0.1", "0.0.0.0", "::1", "::", "admin.example"]) {
  Deno.test(`what is to be kept off the admin side is not even connected to it by ${host}`, async () => {
    using connect = new StubbedConnect({});
    const dialer = new Dialer(() => Promise.resolve(["192.0.2.1", "127.0.0.1"]));
    const guard = new AdminGuard("127.0.0.1:9090");
    await assert.rejects(dialer.dial({ host, port: 9090 }, NEVER, { guard, retryMs: 1000 }), ForbiddenTarget);
    assert.deepEqual(connect.tried, []);
  });
}

Deno.test("a connection that turns out to lead to the admin side is closed before anything is sent", async () => {
  await using server = startSilent();
  const { port } = server.address;
  const opened: Deno.TcpConn[] = [];
  using connect = new StubbedConnect({
    "192.0.2.1": async () => {
      opened.push(await connect.real({ hostname: "127.0.0.1", port }));
      return opened[0]!;
    },
  });
  const guard = new AdminGuard(`127.0.0.1:${port}`);
  const dialing = new Dialer().dial({ host: "192.0.2.1", port }, NEVER, { guard });
  await assert.rejects(dialing, ForbiddenTarget);
  assert.throws(() => opened[0]?.close(), Deno.errors.BadResource);
});

Deno.test("what is kept off the admin side gets everywhere else", async () => {
  await using server = startSilent();
  const guard = new AdminGuard("127.0.0.1:1");
  const dialer = new Dialer(() => Promise.resolve(["127.0.0.1"]));
  for (const host of ["127.0.0.1", "here.example"]) {
    (await dialer.dial({ host, port: server.address.port }, NEVER, { guard })).close();
  }
});
