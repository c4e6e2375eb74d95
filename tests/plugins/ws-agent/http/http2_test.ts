import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { createHash } from "node:crypto";
import http2 from "node:http2";
import { until } from "../../../support/until.ts";
import { HOSTNAME, RawPeer, RawService, TestProxy } from "./harness.ts";
import { RecordingService } from "./recording_service.ts";

const H2 = { terminated: { version: "TLSv1.3", alpn: "h2" } };
const OK = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/** A client of `node:http2` that has agreed on HTTP/2 with the proxy. */
class Client implements AsyncDisposable {
  readonly session: http2.ClientHttp2Session;
  goAway: number | undefined;
  readonly #closed = Promise.withResolvers<void>();

  constructor({ port }: TestProxy) {
    this.session = http2.connect(`http://127.0.0.1:${port}`);
    this.session.on("error", () => {});
    this.session.on("goaway", (code) => this.goAway = code);
    this.session.on("close", () => this.#closed.resolve());
  }

  get closed(): Promise<void> {
    return this.#closed.promise;
  }

  open(headers: http2.OutgoingHttpHeaders = {}): http2.ClientHttp2Stream {
    const stream = this.session.request({ ":path": "/", ":authority": HOSTNAME, ...headers }, {
      endStream: (headers[":method"] ?? "GET") === "GET",
    });
    stream.on("error", () => {});
    return stream;
  }

  /** One request, and all of its answer. */
  async fetch(headers: http2.OutgoingHttpHeaders = {}, body?: Uint8Array | string) {
    const stream = this.open(body === undefined ? headers : { ":method": "POST", ...headers });
    if (body !== undefined) stream.end(body);
    else if (!stream.writableEnded) stream.end();
    return await answerOf(stream);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.session.destroy();
    await this.closed;
  }
}

async function answerOf(stream: http2.ClientHttp2Stream) {
  let headers: http2.IncomingHttpHeaders = {};
  let trailers: http2.IncomingHttpHeaders | undefined;
  const informational: (number | undefined)[] = [];
  const chunks: Uint8Array[] = [];
  stream.on("headers", (given) => informational.push(Number(given[":status"])));
  stream.on("response", (given) => headers = given);
  stream.on("trailers", (given) => trailers = given);
  stream.on("data", (chunk: Uint8Array) => chunks.push(chunk));
  await new Promise((resolve) => stream.once("close", resolve));
  const body = Buffer.concat(chunks);
  return {
    status: Number(headers[":status"] ?? 0),
    headers,
    trailers,
    informational,
    body,
    reset: stream.rstCode,
  };
}

Deno.test("http2: requests become HTTP/1.1, over streams that are used again", async () => {
  await using service = new RecordingService();
  await using proxy = new TestProxy({ to: service.port, info: H2 });
  await using client = new Client(proxy);
  for (let i = 0; i < 3; i++) {
    const { status, body } = await client.fetch({
      ":path": `/p?q=${i}`,
      cookie: ["a=b", "c=d"],
      te: "trailers",
    });
    assert.deepEqual([status, body.toString()], [200, "ok"]);
  }
  assert.equal(proxy.opened, 1);
  assert.deepEqual(service.requests[2]?.head.trimEnd().split("\r\n"), [
    "GET /p?q=2 HTTP/1.1",
    `Host: ${HOSTNAME}`,
    "X-Forwarded-For: 192.0.2.7",
    "X-Real-IP: 192.0.2.7",
    "X-Forwarded-Proto: https",
    "X-Forwarded-Port: 8443",
    `X-Forwarded-Host: ${HOSTNAME}`,
    `Forwarded: for=192.0.2.7;host=${HOSTNAME};proto=https`,
    "cookie: a=b; c=d",
    "connection: TE",
    "te: trailers",
  ]);
  const [event] = await proxy.told(3);
  assert.deepEqual({ ...event, ms: 0 }, {
    method: "GET",
    path: "/p",
    version: "2",
    status: 200,
    bytesIn: 0,
    bytesOut: 2,
    ms: 0,
  });
});

Deno.test("http2: what a proxy says of its client replaces what the client says", async () => {
  await using service = new RecordingService();
  await using proxy = new TestProxy({ to: service.port, info: H2 });
  await using client = new Client(proxy);
  await client.fetch({
    "x-forwarded-for": "evil",
    "forwarded": "evil",
    "x-real-ip": "evil",
    "x_forwarded_for": "evil",
    "x-forwarded-user": "evil",
    "proxy-authorization": "evil",
    "expect": "evil",
    "x-kept": "1",
  });
  const head = service.requests[0]?.head ?? "";
  assert.doesNotMatch(head, /evil/);
  assert.match(head, /\r\nx-kept: 1\r\n/);
});

Deno.test("http2: streams run beside each other", async () => {
  const all = Promise.withResolvers<void>();
  await using service = new RecordingService(async (peer) => {
    if (service.requests.length === 20) all.resolve();
    await all.promise;
    await peer.send(OK);
  });
  await using proxy = new TestProxy({ to: service.port, info: H2 });
  await using client = new Client(proxy);
  const answers = await Promise.all(Array.from({ length: 20 }, () => client.fetch()));
  assert.deepEqual(answers.map(({ status }) => status), answers.map(() => 200));
  assert.equal(proxy.opened, 20);
});

const authorities: readonly (readonly [name: string, headers: http2.OutgoingHttpHeaders, status: number])[] =
  [
    ["a port", { ":authority": `${HOSTNAME}:8443` }, 200],
    ["the same Host", { host: HOSTNAME }, 200],
    ["another name", { ":authority": "other.localhost" }, 421],
    ["an address", { ":authority": "127.0.0.1" }, 421],
    ["another Host", { host: "other.localhost" }, 400],
    ["the method TRACE", { ":method": "TRACE" }, 501],
    ["a method in lower case", { ":method": "get" }, 501],
  ];

for (const [name, headers, status] of authorities) {
  Deno.test(`http2: ${name} is answered with ${status} on every stream, and the others go on`, async () => {
    await using service = new RecordingService();
    await using proxy = new TestProxy({ to: service.port, info: H2 });
    await using client = new Client(proxy);
    assert.equal((await client.fetch()).status, 200);
    assert.equal((await client.fetch(headers)).status, status);
    assert.equal((await client.fetch()).status, 200);
    assert.equal(service.requests.length, status === 200 ? 3 : 2);
  });
}

Deno.test("http2: bodies go both ways unchanged, with and without a length", async () => {
  const service = Deno.serve(
    { hostname: "127.0.0.1", port: 0, onListen() {} },
    (request) => new Response(request.body),
  );
  await using proxy = new TestProxy({ to: service.addr.port, info: H2 });
  await using client = new Client(proxy);
  const sent = Buffer.concat(
    Array.from({ length: 160 }, () => crypto.getRandomValues(new Uint8Array(65536))),
  );
  const hash = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest("hex");
  for (const headers of [{}, { "content-length": String(sent.length) }]) {
    const { status, body } = await client.fetch(headers, sent);
    assert.deepEqual([status, hash(body)], [200, hash(sent)]);
  }
  await service.shutdown();
});

Deno.test("http2: trailers and 103 go through", async () => {
  await using service = new RecordingService((peer) =>
    peer.send(
      "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nSet-Cookie: a\r\nSet-Cookie: b\r\nX: 1\r\nX: 2\r\n" +
        "Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nX-Sum: 1\r\nSet-Cookie: evil\r\n\r\n",
    )
  );
  await using proxy = new TestProxy({ to: service.port, info: H2 });
  await using client = new Client(proxy);
  const stream = client.session.request({ ":method": "POST", ":path": "/", ":authority": HOSTNAME }, {
    waitForTrailers: true,
  });
  stream.on("wantTrailers", () => stream.sendTrailers({ "x-up": "1", "x-forwarded-for": "evil" }));
  stream.end("abc");
  const { informational, headers, trailers, body } = await answerOf(stream);
  assert.deepEqual(informational, [103]);
  assert.deepEqual([headers["set-cookie"], headers["x"]], [["a", "b"], "1, 2"]);
  assert.deepEqual([body.toString(), trailers?.["x-sum"], trailers?.["set-cookie"]], ["a", "1", undefined]);
  assert.deepEqual([service.requests[0]?.body, service.requests[0]?.trailers], ["abc", "x-up: 1\r\n"]);
});

const bodiless:
  readonly (readonly [method: string, response: string, status: number, length: string | undefined])[] = [
    ["HEAD", "200 OK\r\nContent-Length: 12", 200, "12"],
    ["GET", "204 No Content", 204, undefined],
    ["GET", "304 Not Modified\r\nContent-Length: 7", 304, "7"],
    ["GET", "200 OK\r\nContent-Length: 0", 200, "0"],
  ];

for (const [method, response, status, length] of bodiless) {
  Deno.test(`http2: ${method} with ${JSON.stringify(response)} has no body`, async () => {
    await using service = new RecordingService((peer) => peer.send(`HTTP/1.1 ${response}\r\n\r\n`));
    await using proxy = new TestProxy({ to: service.port, info: H2 });
    await using client = new Client(proxy);
    const answer = await client.fetch({ ":method": method });
    assert.deepEqual([answer.status, answer.headers["content-length"], answer.body.length], [
      status,
      length,
      0,
    ]);
  });
}

Deno.test("http2: an answer before the end of the request is sent on, and the stream ends behind it", async () => {
  await using service = new RawService(async (peer) => {
    await peer.readHead();
    await peer.send("HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\n\r\nbig");
    await peer.readToEnd();
  });
  await using proxy = new TestProxy({ to: service.port, info: H2 });
  await using client = new Client(proxy);
  const stream = client.open({ ":method": "POST" });
  stream.write("abc");
  const { status, body, reset } = await answerOf(stream);
  assert.deepEqual([status, body.toString(), reset], [413, "big", 0]);
});

Deno.test("http2: an answer that is cut short resets its stream, and no other", async () => {
  await using service = new RecordingService(async (peer, { path }) => {
    if (path === "/") return await peer.send(OK);
    await peer.send("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab");
    peer.close();
  });
  await using proxy = new TestProxy({ to: service.port, info: H2 });
  await using client = new Client(proxy);
  const cut = await client.fetch({ ":path": "/cut" });
  assert.deepEqual([cut.status, cut.reset], [200, http2.constants.NGHTTP2_INTERNAL_ERROR]);
  assert.equal((await client.fetch()).status, 200);
  assert.deepEqual((await proxy.told(2)).map(({ fault }) => fault), ["response_cut_short", undefined]);
});

for (
  const how of ["while the service thinks", "in the middle of its own body", "in the middle of the answer"]
) {
  Deno.test(`http2: a client that cancels ${how} ends the stream to the service`, async () => {
    const there = Promise.withResolvers<void>();
    const left = Promise.withResolvers<string>();
    await using service = new RawService(async (peer) => {
      await peer.readHead();
      if (how.includes("answer")) await peer.send("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab");
      there.resolve();
      left.resolve(await peer.readToEnd());
    });
    await using proxy = new TestProxy({ to: service.port, info: H2 });
    await using client = new Client(proxy);
    const stream = client.open(how.includes("own") ? { ":method": "POST" } : {});
    if (how.includes("own")) stream.write("abc");
    if (how.includes("answer")) await new Promise((resolve) => stream.once("data", resolve));
    await there.promise;
    stream.close(http2.constants.NGHTTP2_CANCEL);
    assert.doesNotMatch(await left.promise, /0\r\n\r\n/, "the end of a body that did not end");
    const [event] = await proxy.told();
    assert.deepEqual([event?.status, event?.fault], [how.includes("answer") ? 200 : 0, "client_closed"]);
  });
}

Deno.test("http2: a client that vanishes in the middle of its body does not look as if it had finished", async () => {
  const left = Promise.withResolvers<string>();
  await using service = new RawService(async (peer) => {
    await peer.readHead();
    await peer.readTo("abc");
    there.resolve();
    left.resolve(await peer.readToEnd());
  });
  const there = Promise.withResolvers<void>();
  await using proxy = new TestProxy({ to: service.port, info: H2 });
  await using client = new Client(proxy);
  client.open({ ":method": "POST" }).write("abc");
  await there.promise;
  client.session.destroy();
  assert.equal(await left.promise, "\r\n");
  assert.equal((await proxy.told())[0]?.fault, "client_closed");
});

Deno.test("http2: a client that does not read stops the service", async () => {
  let sent = 0;
  let isBlocked = false;
  await using service = new RawService(async (peer) => {
    await peer.readHead();
    await peer.send("HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n");
    const block = new Uint8Array(65536);
    for (;;) {
      const timer = setTimeout(() => isBlocked = true, 300);
      sent += await peer.stream.write(block).finally(() => clearTimeout(timer));
    }
  });
  await using proxy = new TestProxy({ to: service.port, info: H2 });
  await using client = new Client(proxy);
  client.open().pause();
  await until(() => isBlocked, { what: "a service that waits" });
  assert(sent < 20e6, `${sent} bytes are in buffers`);
});

/** A request for `/` without a body, on stream `id`: HPACK's static table, and the name as a literal. */
function requestFrame(id: number): Uint8Array {
  const name = new TextEncoder().encode(HOSTNAME);
  const block = Uint8Array.of(0x82, 0x84, 0x86, 0x41, name.length, ...name);
  return Uint8Array.of(0, 0, block.length, 1, 5, 0, 0, id >> 8, id & 0xff, ...block);
}

Deno.test("http2: many small pieces reach a slow client as they were", async () => {
  const pieces = Array.from({ length: 300 }, (_, i) => String(i % 10).repeat(701));
  const isSent = Promise.withResolvers<void>();
  await using service = new RawService(async (peer) => {
    await peer.readHead();
    await peer.send("HTTP/1.1 200 OK\r\n\r\n");
    for (const piece of pieces) {
      await peer.send(piece);
      await new Promise((resolve) => setImmediate(resolve));
    }
    peer.close();
    isSent.resolve();
  });
  await using proxy = new TestProxy({ to: service.port, info: H2 });
  await using client = new Client(proxy);
  const stream = client.open();
  stream.pause();
  await isSent.promise;
  const answer = answerOf(stream);
  stream.resume();
  assert.equal((await answer).body.toString(), pieces.join(""));
});

Deno.test("http2: a service that does not read stops the client", async () => {
  await using service = new RawService((peer) => peer.readHead().then(() => {}));
  await using proxy = new TestProxy({ to: service.port, info: H2 });
  await using client = new Client(proxy);
  const stream = client.open({ ":method": "POST" });
  let sent = 0;
  let lastSent = performance.now();
  const block = new Uint8Array(65536);
  const send = () =>
    stream.write(block, () => {
      sent += block.length;
      lastSent = performance.now();
      if (!stream.destroyed) send();
    });
  send();
  await until(() => sent > 0 && performance.now() - lastSent > 300, { what: "a client that waits" });
  assert(sent < 20e6, `${sent} bytes are in buffers`);
});

Deno.test("http2: rapid resets end the connection, and what they began is cleared away", async () => {
  await using service = new RawService((peer) => peer.readToEnd().then(() => {}));
  await using proxy = new TestProxy({ to: service.port, info: H2 });
  using client = await RawPeer.to(proxy);
  await client.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
  await client.send(Uint8Array.of(0, 0, 0, 4, 0, 0, 0, 0, 0));
  let sent = 0;
  const sending = (async () => {
    for (let id = 1; id < 20_000; id += 2, sent++) {
      await client.send(
        Uint8Array.of(...requestFrame(id), 0, 0, 4, 3, 0, 0, 0, id >> 8, id & 0xff, 0, 0, 0, 8),
      );
    }
  })().catch(() => {});
  await client.readToEnd();
  client.close();
  await sending;
  await until(() => proxy.connections === 0, { what: "the end of the connection" });
  assert(proxy.events.length < 1000, `${proxy.events.length} requests`);
  assert(proxy.events.every(({ fault }) => fault === "client_closed" || fault === "closed"));
});

Deno.test("http2: pings without end end the connection", async () => {
  await using proxy = new TestProxy({ to: 1, info: H2 });
  using client = await RawPeer.to(proxy);
  const ping = Uint8Array.of(0, 0, 8, 6, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8);
  await client.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
  await client.send(Uint8Array.of(0, 0, 0, 4, 0, 0, 0, 0, 0));
  const sending = (async () => {
    for (let i = 0; i < 5000; i++) await client.send(ping);
  })().catch(() => {});
  await client.readToEnd();
  client.close();
  await sending;
  await until(() => proxy.connections === 0, { what: "the end of the connection" });
});

Deno.test("http2: what a connection may upload in a round trip is more than the 64 KiB that it begins with", async () => {
  await using proxy = new TestProxy({ to: 1, info: H2 });
  using client = await RawPeer.to(proxy);
  await client.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
  await client.send(Uint8Array.of(0, 0, 0, 4, 0, 0, 0, 0, 0));
  const windowUpdate = "\0\0\x04\x08\0\0\0\0\0"; // of stream 0
  assert((await client.readTo(windowUpdate)).endsWith(windowUpdate));
  const more = Buffer.from(await client.readBytes(4), "latin1").readUInt32BE();
  assert.equal(65_535 + more, 512 * 1024);
});

Deno.test("http2: extended CONNECT is not announced, pushes are not wanted", async () => {
  await using proxy = new TestProxy({ to: 1, info: H2 });
  await using client = new Client(proxy);
  const settings = await new Promise<http2.Settings>((resolve) =>
    client.session.once("remoteSettings", resolve)
  );
  assert.equal(settings.enableConnectProtocol ?? false, false);
  assert.equal(settings.maxConcurrentStreams, 100);
});

Deno.test("http2: draining says go-away, and serves what is open", async () => {
  const there = Promise.withResolvers<void>();
  const answer = Promise.withResolvers<void>();
  await using service = new RecordingService(async (peer) => {
    there.resolve();
    await answer.promise;
    await peer.send(OK);
  });
  await using proxy = new TestProxy({ to: service.port, info: H2 });
  await using client = new Client(proxy);
  const pending = client.fetch();
  await there.promise;
  proxy.drain();
  await until(() => client.goAway !== undefined, { what: "go-away" });
  answer.resolve();
  assert.equal((await pending).status, 200);
  await client.closed;
  assert.equal(client.goAway, 0);
});

Deno.test("http2: a connection without requests is told to go", async () => {
  await using proxy = new TestProxy({ to: 1, info: H2, timeouts: { keepAliveMs: 100, lingerMs: 100 } });
  await using client = new Client(proxy);
  await client.closed;
  assert.equal(client.goAway, 0);
});

const slow:
  readonly (readonly [what: string, status: number, headers: http2.OutgoingHttpHeaders, fault: string])[] = [
    ["service", 504, {}, "response_timeout"],
    ["body", 408, { ":method": "POST" }, "request_timeout"],
  ];

for (const [what, status, headers, fault] of slow) {
  Deno.test(`http2: a ${what} that does not come is ${status}`, async () => {
    await using service = new RawService((peer) => peer.readToEnd().then(() => {}));
    await using proxy = new TestProxy({
      to: service.port,
      info: H2,
      timeouts: { responseMs: 100, bodyMs: 100 },
    });
    await using client = new Client(proxy);
    assert.equal((await answerOf(client.open(headers))).status, status);
    assert.deepEqual((await proxy.told()).map((event) => event.fault), [fault]);
  });
}

Deno.test("http2: an idempotent request is sent again when its service dies over it", async () => {
  await using service = new RecordingService((peer, { connection }) =>
    connection === 0 ? peer.close() : peer.send(OK)
  );
  await using proxy = new TestProxy({ to: service.port, info: H2 });
  await using client = new Client(proxy);
  assert.equal((await client.fetch()).status, 200);
  const again = await client.fetch(undefined, "abc"); // over connection 1
  assert.equal(again.status, 200);
  assert.deepEqual(service.requests.map(({ connection }) => connection), [0, 1, 1]);
});

Deno.test("http2: a request that must not be repeated is not sent again", async () => {
  await using service = new RecordingService((peer) => peer.close());
  await using proxy = new TestProxy({ to: service.port, info: H2 });
  await using client = new Client(proxy);
  assert.equal((await client.fetch({}, "abc")).status, 502);
  assert.equal(service.requests.length, 1);
});
