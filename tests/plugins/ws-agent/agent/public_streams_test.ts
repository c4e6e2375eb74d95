import assert from "node:assert/strict";
import { type ByteStream, writeAll } from "../../../../core/byte_stream.ts";
import { answerRefusal } from "../../../../plugins/ws-agent/agent/bad_gateway.ts";
import type { AgentEvent, RequestSeen } from "../../../../plugins/ws-agent/agent/events.ts";
import { HttpObserver } from "../../../../plugins/ws-agent/agent/http_observer.ts";
import { type AgentNetwork, systemNetwork } from "../../../../plugins/ws-agent/agent/network.ts";
import { WatchedStream } from "../../../../plugins/ws-agent/agent/watched_stream.ts";
import { createCertificate } from "../../../support/certificates.ts";
import { readToEnd, serveTcp, startEcho, startReset } from "../../../support/echo.ts";
import { until } from "../../../support/until.ts";
import { FakeGateway, service, settingsFor, startAgent } from "./fake_gateway.ts";

const encode = (text: string) => new TextEncoder().encode(text);
const decode = (bytes: Uint8Array) => new TextDecoder().decode(bytes);

/** The network of the machine, which writes down what is dialed, and knows names of its own. */
function recordingNetwork(
  names: Readonly<Record<string, readonly string[]>> = {},
): AgentNetwork & { readonly dialed: string[] } {
  const system = systemNetwork();
  const dialed: string[] = [];
  return {
    dialed,
    startTls: system.startTls,
    openDatagrams: system.openDatagrams,
    connect(to, signal) {
      dialed.push(`${to.host}:${to.port}`);
      return system.connect(to, signal);
    },
    lookUp: (name) =>
      names[name] ? Promise.resolve(names[name]) : Promise.reject(new Error("failed to lookup address")),
  };
}

function failures(events: readonly AgentEvent[]) {
  return events.flatMap((event) => event.kind === "target_failed" ? [event] : []);
}

Deno.test("link-local and metadata addresses are not dialed when a name leads there", async () => {
  const network = recordingNetwork({
    "v4.internal": ["10.0.0.1", "169.254.169.254"],
    "v6.internal": ["fe80::1"],
    "aws.internal": ["fd00:ec2::254"],
    "mapped.internal": ["::ffff:169.254.169.254"],
  });
  await using gateway = new FakeGateway();
  const names = ["v4", "v6", "aws", "mapped"];
  const services = names.map((name) => service(name, `${name}.internal:80`));
  await using running = startAgent(settingsFor(gateway, services), { network });
  const session = await gateway.registered(0, names.length);
  network.dialed.length = 0;
  for (const name of names) {
    await assert.rejects(readToEnd(await session.open(name)), Deno.errors.ConnectionReset);
  }
  assert.deepEqual(network.dialed, []);
  assert.deepEqual(
    failures(running.events).map(({ reason }) => /leads to (\S+), a link-local/.exec(reason)?.[1]),
    [
      "169.254.169.254",
      "fe80::1",
      "fd00:ec2::254",
      "::ffff:169.254.169.254",
    ],
  );
});

Deno.test("a name that leads elsewhere once it is connected to is caught before a byte is sent", async () => {
  const network = recordingNetwork({ "rebinds.internal": ["10.0.0.1"] });
  const [sent, closed]: [Uint8Array[], string[]] = [[], []];
  const there: AgentNetwork = {
    ...network,
    connect: (to, signal) =>
      to.host !== "rebinds.internal" ? network.connect(to, signal) : Promise.resolve({
        remoteAddress: "169.254.169.254",
        read: () => Promise.resolve(null),
        write: (data) => (sent.push(data), Promise.resolve(data.length)),
        closeWrite: () => Promise.resolve(),
        close: () => void closed.push(to.host),
      }),
  };
  await using gateway = new FakeGateway();
  await using _ = startAgent(
    settingsFor(gateway, [service("a", "rebinds.internal:80", { proxyProtocol: "v2" })]),
    { network: there },
  );
  const stream = await (await gateway.registered(0)).open("a");
  await writeAll(stream, encode("secret"));
  await assert.rejects(readToEnd(stream), Deno.errors.ConnectionReset);
  assert.deepEqual([sent, closed], [[], ["rebinds.internal"]]);
});

Deno.test("an address that the config names is meant, link-local or not", async () => {
  const dialed: string[] = [];
  const system = systemNetwork();
  const network: AgentNetwork = {
    ...system,
    connect(to, signal) {
      if (to.host === "127.0.0.1") return system.connect(to, signal);
      dialed.push(to.host);
      return Promise.reject(new Deno.errors.ConnectionRefused("refused"));
    },
  };
  await using gateway = new FakeGateway();
  await using _ = startAgent(settingsFor(gateway, [service("a", "169.254.1.1:80")]), { network });
  await assert.rejects(readToEnd(await (await gateway.registered(0)).open("a")));
  assert.deepEqual(dialed, ["169.254.1.1"]);
});

Deno.test("whatever a stream says, only the service's own target is dialed", async () => {
  await using echo = startEcho();
  const network = recordingNetwork();
  await using gateway = new FakeGateway();
  await using _ = startAgent(settingsFor(gateway, [service("a", echo.target, { protocol: "http" })]), {
    network,
  });
  const session = await gateway.registered(0);
  network.dialed.length = 0;
  const stream = await session.open("a", {
    name: "169.254.169.254.example.com",
    destination: { address: "169.254.169.254", port: 80 },
  });
  await writeAll(
    stream,
    encode("GET http://169.254.169.254/latest/meta-data HTTP/1.1\r\nHost: 169.254.169.254\r\n\r\n"),
  );
  await stream.closeWrite();
  await readToEnd(stream);
  stream.close();
  assert.deepEqual(network.dialed, [echo.target]);
});

Deno.test("a port alone is both loopback addresses, the one of IPv4 first", async () => {
  await using echo = startEcho({ hostname: "::1" });
  const network = recordingNetwork();
  await using gateway = new FakeGateway();
  await using _ = startAgent(settingsFor(gateway, [service("a", echo.address.port)]), { network });
  const session = await gateway.registered(0);
  network.dialed.length = 0;
  const stream = await session.open("a");
  await stream.closeWrite();
  await readToEnd(stream);
  stream.close();
  assert.deepEqual(network.dialed, [`127.0.0.1:${echo.address.port}`, `::1:${echo.address.port}`]);
});

for (
  const { name, request, body } of [
    { name: "a request", request: "POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc", body: true },
    { name: "HEAD", request: "HEAD / HTTP/1.1\r\nHost: a\r\n\r\n", body: false },
  ]
) {
  Deno.test(`${name} for a service that is down is answered with 502, which does not tell where it would be`, async () => {
    await using gateway = new FakeGateway();
    await using running = startAgent(
      settingsFor(gateway, [service("web", "127.0.0.1:1", { protocol: "http" })]),
      { watchRequests: true },
    );
    const stream = await (await gateway.registered(0)).open("web", { connectionId: "p0-17" });
    await writeAll(stream, encode(request));
    const answer = decode(await readToEnd(stream));
    stream.close();
    assert.match(answer, /^HTTP\/1\.1 502 Bad Gateway\r\n/);
    assert.match(answer, /^Connection: close\r$/m);
    const [, text = ""] = answer.split("\r\n\r\n");
    if (body) {
      assert.match(text, /The tunnel to "web" is up, but the local service behind it is not running\.\n$/);
    } else assert.equal(text, "");
    assert.doesNotMatch(answer, /127\.0\.0\.1/);
    assert.deepEqual(failures(running.events), [{
      kind: "target_failed",
      service: "web",
      target: "127.0.0.1:1",
      reason: "Nothing listens there",
      connection: "p0-17",
    }]);
    assert.deepEqual(running.events.flatMap((event) => event.kind === "request" ? [event.status] : []), [
      502,
    ]);
  });
}

for (
  const { name, request, status, body } of [
    {
      name: "a long head",
      request: `GET / HTTP/1.1\r\nHost: a\r\nCookie: ${"c".repeat(20_000)}\r\n\r\n`,
      status: "GET 502",
      body: true,
    },
    { name: "HEAD", request: "HEAD / HTTP/1.1\r\nHost: a\r\n\r\n", status: "HEAD 502", body: false },
    { name: "a head that breaks off", request: "GET / HTTP/1.1\r\nHost: a\r\n", status: "", body: true },
    {
      name: "something else than HTTP, and a lot of it",
      request: "\x16".repeat(40_000),
      status: "",
      body: true,
    },
    {
      name: "a head that is too long",
      request: `GET / HTTP/1.1\r\nX: ${"x".repeat(100_000)}`,
      status: "",
      body: true,
    },
    { name: "nothing", request: "", status: "", body: true },
  ]
) {
  Deno.test(`a refusal is the answer to ${name}, and seen as that, however the bytes are cut`, async () => {
    for (const most of [1, 3, 100, 4096, Infinity]) {
      const seen: string[] = [];
      const observer = new HttpObserver(({ method, status }) => seen.push(`${method} ${status}`), () => 0);
      let rest = encode(request), answer = "", ended = false;
      const stream: ByteStream = {
        read(into) {
          const part = rest.subarray(0, Math.min(most, into.length));
          into.set(part);
          rest = rest.subarray(part.length);
          return Promise.resolve(part.length || null);
        },
        write: (data) => (answer += decode(data), Promise.resolve(data.length)),
        closeWrite: () => (ended = true, Promise.resolve()),
        close: () => {},
      };
      await answerRefusal(new WatchedStream(stream, observer), "web", "refused");
      assert.equal(seen.join(), status, `pieces of ${most}`);
      assert.equal(/^HTTP\/1\.1 502 [^]*\r\n\r\n(.*)/.exec(answer)?.[1] !== "", body);
      assert.ok(ended && rest.length === 0, "all was read");
    }
  });
}

Deno.test("a target that does not answer in time is a 502, too", async () => {
  const system = systemNetwork();
  const network: AgentNetwork = {
    ...system,
    connect: (to, signal) =>
      to.port !== 9 ? system.connect(to, signal) : new Promise((_, reject) => {
        signal.addEventListener("abort", () => reject(signal.reason));
      }),
  };
  await using gateway = new FakeGateway();
  await using running = startAgent(
    settingsFor(gateway, [service("web", "127.0.0.1:9", { protocol: "http" })]),
    {
      network,
      streamTimes: { dialMs: 30 },
    },
  );
  const stream = await (await gateway.registered(0)).open("web");
  await writeAll(stream, encode("GET / HTTP/1.1\r\nHost: a\r\n\r\n"));
  assert.match(decode(await readToEnd(stream)), /did not answer in time\.\n$/);
  stream.close();
  assert.equal(failures(running.events)[0]?.reason, "No answer in time");
});

for (const protocol of ["tcp", "tls"] as const) {
  Deno.test(`a ${protocol} service that is down is a reset`, async () => {
    await using gateway = new FakeGateway();
    await using _ = startAgent(settingsFor(gateway, [service("db", "127.0.0.1:1", { protocol })]));
    const stream = await (await gateway.registered(0)).open("db");
    await assert.rejects(readToEnd(stream), Deno.errors.ConnectionReset);
    stream.close();
  });
}

Deno.test("a stream that the gateway resets ends the connection to a target that takes nothing", async () => {
  const wakeUp = Promise.withResolvers<void>(), ended = Promise.withResolvers<number>();
  await using stuck = serveTcp(async (conn) => {
    await wakeUp.promise;
    ended.resolve(await readToEnd(conn).then(({ length }) => length, () => 0)); // a reset will do as well
  });
  await using gateway = new FakeGateway();
  await using running = startAgent(settingsFor(gateway, [service("a", stuck.target)]));
  const stream = await (await gateway.registered(0)).open("a");
  const size = 64 << 20;
  const flooding = writeAll(stream, new Uint8Array(size)).catch(() => {});
  let before = 0, still = 0;
  await until(() => { // the target's socket is full: nobody reads the stream any more
    const now = running.agent.status.bytesIn;
    still = now > 0 && now === before ? still + 1 : 0;
    before = now;
    return still === 5;
  }, { what: "the agent to be held back" });
  stream.reset();
  await flooding;
  await until(() => running.agent.status.streams === 0, { what: "the reset" });
  wakeUp.resolve();
  const received = await ended.promise;
  assert.ok(received < size, `${received} bytes`);
});

Deno.test("streams that are reset while their target is dialed leave no dial behind", async () => {
  const system = systemNetwork();
  let [dialing, most] = [0, 0];
  const network: AgentNetwork = {
    ...system,
    connect: (to, signal) =>
      to.port !== 9 ? system.connect(to, signal) : new Promise((_, reject) => {
        most = Math.max(most, ++dialing);
        signal.addEventListener("abort", () => {
          dialing--;
          reject(signal.reason);
        });
      }),
  };
  await using gateway = new FakeGateway();
  await using running = startAgent(settingsFor(gateway, [service("a", 9, { protocol: "http" })]), {
    network,
  });
  const session = await gateway.registered(0);
  for (let i = 1; i <= 20; i++) {
    const stream = await session.open("a");
    await until(() => dialing === 1, { what: `dial ${i}` });
    stream.reset();
    await until(() => dialing === 0, { what: `the end of dial ${i}` });
  }
  assert.equal(most, 1);
  assert.deepEqual(failures(running.events), [], "it is not the target's fault");
});

Deno.test("a gateway that opens nonsense by the thousand is told of once", async () => {
  await using gateway = new FakeGateway();
  await using running = startAgent(settingsFor(gateway, [service("a", 1)]));
  const session = await gateway.registered(0);
  const serviceId = "00000000-0000-4000-8000-00000000ffff";
  const streams = await Promise.all(Array.from({ length: 200 }, () => session.open("a", { serviceId })));
  for (const stream of streams) await assert.rejects(readToEnd(stream), Deno.errors.ConnectionReset);
  assert.equal(running.events.filter(({ kind }) => kind === "stream_refused").length, 1);
});

Deno.test("a service that breaks off looks like that to the public, not like one that has finished", async () => {
  await using reset = await startReset();
  await using gateway = new FakeGateway();
  await using _ = startAgent(settingsFor(gateway, [service("a", reset.target)]));
  const stream = await (await gateway.registered(0)).open("a");
  await writeAll(stream, encode("x"));
  await stream.closeWrite();
  await assert.rejects(readToEnd(stream), Deno.errors.ConnectionReset);
  stream.close();
});

for (
  const { proxyProtocol, starts } of [
    { proxyProtocol: "v1", starts: "PROXY TCP4 203.0.113.9 198.51.100.1 4711 443\r\nhi" },
    {
      proxyProtocol: "v2",
      starts: "\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c\xcb\x00\x71\x09\xc6\x33\x64\x01\x12\x67\x01\xbbhi",
    },
  ] as const
) {
  Deno.test(`proxyProtocol: ${proxyProtocol} tells the target who the public client is`, async () => {
    await using echo = startEcho();
    await using gateway = new FakeGateway();
    await using _ = startAgent(settingsFor(gateway, [service("a", echo.target, { proxyProtocol })]));
    const stream = await (await gateway.registered(0)).open("a");
    await writeAll(stream, encode("hi"));
    await stream.closeWrite();
    assert.equal(String.fromCharCode(...await readToEnd(stream)), starts);
    stream.close();
  });
}

Deno.test("a target that speaks TLS is spoken to by TLS; on loopback, its certificate may be its own", async () => {
  const { certificate, key } = await createCertificate("dev.example.com");
  using listener = Deno.listenTls({ hostname: "127.0.0.1", port: 0, cert: certificate, key });
  const served = (async () => {
    const conn = await listener.accept();
    await writeAll(conn, (await readToEnd(conn)).toReversed());
    conn.close();
  })();
  await using gateway = new FakeGateway();
  const target = { host: "127.0.0.1", port: (listener.addr as Deno.NetAddr).port, tls: true };
  await using _ = startAgent(settingsFor(gateway, [{ ...service("a", 1), target }]));
  const stream = await (await gateway.registered(0)).open("a");
  await writeAll(stream, encode("abc"));
  await stream.closeWrite();
  assert.equal(decode(await readToEnd(stream)), "cba");
  stream.close();
  await served;
});

Deno.test("streams that make no sense are reset, and told", async () => {
  await using gateway = new FakeGateway();
  await using running = startAgent(settingsFor(gateway, [service("a", 1)]), {
    streamTimes: { headerMs: 50 },
  });
  const session = await gateway.registered(0);
  const unknown = await session.open("a", { serviceId: "00000000-0000-4000-8000-00000000ffff" });
  await assert.rejects(readToEnd(unknown), Deno.errors.ConnectionReset);
  const garbage = session.yamux.open();
  await writeAll(garbage, encode("GET / HTTP/1.1\r\n\r\n"));
  await assert.rejects(readToEnd(garbage), Deno.errors.ConnectionReset);
  const half = session.yamux.open();
  await writeAll(half, Uint8Array.of(0x0d, 0x0a, 0x0d));
  await assert.rejects(readToEnd(half), Deno.errors.ConnectionReset, "within the header's deadline");
  await until(() => running.events.filter(({ kind }) => kind === "stream_refused").length === 2, {
    what: "events",
  });
});

/** A server that answers every request of a connection alike. */
function startHttp(response: string) {
  return serveTcp(async (conn) => {
    const buffer = new Uint8Array(4096);
    for (let seen = "";;) {
      const read = await conn.read(buffer);
      if (read === null) return;
      seen += decode(buffer.subarray(0, read));
      for (let end; (end = seen.indexOf("\r\n\r\n")) >= 0; seen = seen.slice(end + 4)) {
        await writeAll(conn, encode(response));
      }
    }
  });
}

Deno.test("requests are told as they go by, when somebody watches", async () => {
  await using http = startHttp("HTTP/1.1 201 Created\r\nContent-Length: 2\r\n\r\nok");
  for (const watchRequests of [true, false]) {
    await using gateway = new FakeGateway();
    const settings = settingsFor(gateway, [service("web", http.target, { protocol: "http" })]);
    await using running = startAgent(settings, { watchRequests });
    const stream = await (await gateway.registered(0)).open("web");
    await writeAll(
      stream,
      encode("GET /a?token=secret HTTP/1.1\r\nHost: a\r\n\r\nPUT /b HTTP/1.1\r\nHost: a\r\n\r\n"),
    );
    await stream.closeWrite();
    assert.equal(decode(await readToEnd(stream)).split("201 Created").length, 3);
    stream.close();
    const seen = running.events.filter((event): event is RequestSeen => event.kind === "request");
    assert.deepEqual(
      seen.map(({ method, path, status, service, client }) => [method, path, status, service, client?.host]),
      watchRequests
        ? [["GET", "/a", 201, "web", "203.0.113.9"], ["PUT", "/b", 201, "web", "203.0.113.9"]]
        : [],
    );
  }
});
