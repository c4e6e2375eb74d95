import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { until } from "../../../support/until.ts";
import { HOSTNAME, RawPeer, RawService, TestProxy } from "./harness.ts";
import { RecordingService } from "./recording_service.ts";

const HOST = `Host: ${HOSTNAME}\r\n`;
const GET = `GET / HTTP/1.1\r\n${HOST}\r\n`;
const lines = (head: string) => head.trimEnd().split("\r\n");

Deno.test("http1: a request and its response go through, over one stream", async () => {
  await using service = new RecordingService();
  await using proxy = new TestProxy({ to: service.port });
  using client = await RawPeer.to(proxy);
  for (let i = 0; i < 3; i++) {
    await client.send(`POST /a?q=${i} HTTP/1.1\r\n${HOST}Content-Length: 3\r\nX-Own: 1\r\n\r\nabc`);
    assert.equal(await client.readResponse(), "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
  }
  assert.deepEqual(service.requests.map(({ method, path, body }) => [method, path, body]), [
    ["POST", "/a?q=0", "abc"],
    ["POST", "/a?q=1", "abc"],
    ["POST", "/a?q=2", "abc"],
  ]);
  assert.equal(proxy.opened, 1);
  assert.equal(service.accepted, 1);
  const [event] = await proxy.told(3);
  assert.deepEqual({ ...event, ms: 0 }, {
    method: "POST",
    path: "/a",
    version: "1.1",
    status: 200,
    bytesIn: 3,
    bytesOut: 2,
    ms: 0,
  });
});

Deno.test("http1: two clients never share a stream", async () => {
  await using service = new RecordingService();
  await using proxy = new TestProxy({ to: service.port });
  using one = await RawPeer.to(proxy);
  await one.send(GET);
  await one.readResponse();
  using other = await RawPeer.to(proxy);
  await other.send(GET);
  await other.readResponse();
  assert.deepEqual(service.requests.map(({ connection }) => connection), [0, 1]);
});

Deno.test("http1: a request whose bytes come one by one is the same request", async () => {
  await using service = new RecordingService();
  await using proxy = new TestProxy({ to: service.port });
  using client = await RawPeer.to(proxy);
  const request =
    `POST / HTTP/1.1\r\n${HOST}Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\nX-T: 1\r\n\r\n`;
  for (const character of request) await client.send(character);
  await client.readResponse();
  assert.equal(service.requests[0]?.body, "abcde");
  assert.equal(service.requests[0]?.trailers, "X-T: 1\r\n");
});

Deno.test("http1: pipelined requests are answered in their order", async () => {
  await using service = new RecordingService((peer, { path }) =>
    peer.send(`HTTP/1.1 200 OK\r\nContent-Length: ${path.length}\r\n\r\n${path}`)
  );
  await using proxy = new TestProxy({ to: service.port });
  using client = await RawPeer.to(proxy);
  const paths = Array.from({ length: 50 }, (_, i) => `/p${i}`);
  await client.send(
    paths.map((path, i) =>
      i % 2 === 0
        ? `GET ${path} HTTP/1.1\r\n${HOST}\r\n`
        : `POST ${path} HTTP/1.1\r\n${HOST}Content-Length: 5\r\n\r\nGET /`
    ).join(""),
  );
  for (const path of paths) assert((await client.readResponse()).endsWith(`\r\n\r\n${path}`));
  assert.deepEqual(service.requests.map(({ path }) => path), paths);
  assert.equal(proxy.opened, 1);
});

const bodies: readonly (readonly [name: string, response: string, get: string, isLast: boolean])[] = [
  ["Content-Length", "Content-Length: 3\r\n\r\nabc", "Content-Length: 3\r\n\r\nabc", false],
  ["nothing in it", "Content-Length: 0\r\n\r\n", "Content-Length: 0\r\n\r\n", false],
  [
    "chunks",
    "Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n2;x=y\r\nbc\r\n0\r\n\r\n",
    "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    false,
  ],
  [
    "chunks and trailers",
    "Trailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nX-Sum: 1\r\nContent-Length: 9\r\n\r\n",
    "Trailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nX-Sum: 1\r\n\r\n",
    false,
  ],
  ["FIN", "\r\nabc", "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", true],
  [
    "Content-Length and close",
    "Connection: close\r\nContent-Length: 1\r\n\r\na",
    "Content-Length: 1\r\n\r\na",
    true,
  ],
];

for (const [name, response, expected, isLast] of bodies) {
  Deno.test(`http1: a body that is delimited by ${name} arrives, and the connection goes on`, async () => {
    await using service = new RecordingService(async (peer) => {
      await peer.send(`HTTP/1.1 200 OK\r\n${response}`);
      if (isLast) peer.close();
    });
    await using proxy = new TestProxy({ to: service.port });
    using client = await RawPeer.to(proxy);
    const wanted = `HTTP/1.1 200 OK\r\n${expected}`;
    for (let i = 0; i < 2; i++) {
      await client.send(GET);
      assert.equal(await client.readBytes(wanted.length), wanted);
    }
    assert.equal(proxy.opened, isLast ? 2 : 1);
    await client.send(`GET / HTTP/1.1\r\n${HOST}Connection: close\r\n\r\n`);
    const last = await client.readToEnd();
    assert.match(last, /\r\nConnection: close\r\n/);
    assert(last.endsWith(expected.slice(expected.indexOf("\r\n\r\n"))));
  });
}

const bodiless: readonly (readonly [method: string, response: string, expected: string])[] = [
  ["HEAD", "200 OK\r\nContent-Length: 12\r\n\r\n", "200 OK\r\nContent-Length: 12\r\n\r\n"],
  ["HEAD", "200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "200 OK\r\n\r\n"],
  ["GET", "204 No Content\r\n\r\n", "204 No Content\r\n\r\n"],
  ["GET", "204 No Content\r\nContent-Length: 0\r\n\r\n", "204 No Content\r\n\r\n"],
  [
    "GET",
    "304 Not Modified\r\nContent-Length: 7\r\nETag: x\r\n\r\n",
    "304 Not Modified\r\nETag: x\r\nContent-Length: 7\r\n\r\n",
  ],
];

for (const [method, response, expected] of bodiless) {
  Deno.test(`http1: ${method} with ${JSON.stringify(response)} has no body, and the stream goes on`, async () => {
    await using service = new RecordingService((peer) => peer.send(`HTTP/1.1 ${response}`));
    await using proxy = new TestProxy({ to: service.port });
    using client = await RawPeer.to(proxy);
    for (let i = 0; i < 2; i++) {
      await client.send(`${method} / HTTP/1.1\r\n${HOST}\r\n`);
      assert.equal(await client.readHead(), `HTTP/1.1 ${expected}`);
    }
    assert.equal(proxy.opened, 1);
  });
}

Deno.test("http1: a client of HTTP/1.0 gets a body without chunks, then FIN", async () => {
  await using service = new RecordingService((peer) =>
    peer.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n")
  );
  await using proxy = new TestProxy({ to: service.port });
  using client = await RawPeer.to(proxy);
  await client.send(`GET / HTTP/1.0\r\n${HOST}Connection: keep-alive\r\n\r\n`);
  assert.equal(await client.readToEnd(), "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nabc");
  assert.equal((await proxy.told())[0]?.version, "1.0");
  assert.match(service.requests[0]?.head ?? "", /^GET \/ HTTP\/1\.1\r\n/);
});

Deno.test("http1: 100 and 103 are sent on, to HTTP/1.0 they are not", async () => {
  await using service = new RawService(async (peer) => {
    for (;;) {
      const head = await peer.readHead();
      if (head === "") return peer.close();
      await peer.send("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n");
      if (head.includes("Expect: 100-continue")) {
        await peer.send("HTTP/1.1 100 Continue\r\n\r\n");
        await peer.readBytes(3);
      }
      await peer.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    }
  });
  await using proxy = new TestProxy({ to: service.port });
  using client = await RawPeer.to(proxy);
  await client.send(`POST / HTTP/1.1\r\n${HOST}Expect: 100-continue\r\nContent-Length: 3\r\n\r\n`);
  assert.equal(await client.readHead(), "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n");
  assert.equal(await client.readHead(), "HTTP/1.1 100 Continue\r\n\r\n");
  await client.send("abc");
  assert.equal(await client.readHead(), "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
  await client.send(`GET / HTTP/1.0\r\n${HOST}\r\n`);
  assert.match(await client.readToEnd(), /^HTTP\/1\.1 200 OK\r\n/);
});

Deno.test("http1: an answer before the end of the request is sent on, and the connection ends behind it", async () => {
  await using service = new RawService(async (peer) => {
    await peer.readHead();
    await peer.send("HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\n\r\nbig");
    await peer.readToEnd();
  });
  await using proxy = new TestProxy({ to: service.port, timeouts: { lingerMs: 500 } });
  using client = await RawPeer.to(proxy);
  await client.send(`POST / HTTP/1.1\r\n${HOST}Content-Length: 1000000\r\n\r\nabc`);
  assert.equal(
    await client.readToEnd(),
    "HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\nConnection: close\r\n\r\nbig",
  );
  const [event] = await proxy.told();
  assert.deepEqual([event?.status, event?.bytesIn, event?.fault], [413, 3, undefined]);
});

Deno.test("http1: both bodies flow at the same time", async () => {
  await using service = new RawService(async (peer) => {
    await peer.readHead();
    await peer.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
    for (let i = 0; i < 3; i++) {
      await peer.readTo("\r\n");
      await peer.send(`3\r\n${(await peer.readBytes(5)).slice(0, 3).toUpperCase()}\r\n`);
    }
    await peer.send("0\r\n\r\n");
    await peer.readToEnd();
  });
  await using proxy = new TestProxy({ to: service.port });
  using client = await RawPeer.to(proxy);
  await client.send(`POST / HTTP/1.1\r\n${HOST}Transfer-Encoding: chunked\r\n\r\n`);
  await client.readHead();
  for (const word of ["abc", "def", "ghi"]) {
    await client.send(`3\r\n${word}\r\n`);
    assert.equal(await client.readTo(`${word.toUpperCase()}\r\n`), `3\r\n${word.toUpperCase()}\r\n`);
  }
});

Deno.test("http1: an event of a stream of events arrives at once", async () => {
  const next = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
  await using service = new RawService(async (peer) => {
    await peer.readHead();
    await peer.send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n");
    for (const { promise } of next) {
      await promise;
      await peer.send("data: x\n\n");
    }
    peer.close();
  });
  await using proxy = new TestProxy({ to: service.port });
  using client = await RawPeer.to(proxy);
  await client.send(GET);
  assert.match(await client.readHead(), /Content-Type: text\/event-stream\r\n/);
  for (const { resolve } of next) {
    resolve();
    assert.equal(await client.readTo("\n\n\r\n"), "9\r\ndata: x\n\n\r\n");
  }
  assert.equal(await client.readTo("0\r\n\r\n"), "0\r\n\r\n");
});

Deno.test("http1: 10 MB go both ways unchanged", async () => {
  const sent = crypto.getRandomValues(new Uint8Array(65536));
  const hash = createHash("sha256");
  for (let i = 0; i < 160; i++) hash.update(sent);
  const wanted = hash.digest("hex");
  const service = Deno.serve(
    { hostname: "127.0.0.1", port: 0, onListen() {} },
    (request) => new Response(request.body),
  );
  await using proxy = new TestProxy({ to: service.addr.port });
  for (const framing of ["Content-Length: 10485760", "Transfer-Encoding: chunked"]) {
    using client = await RawPeer.to(proxy);
    const sending = (async () => {
      await client.send(`POST / HTTP/1.1\r\n${HOST}${framing}\r\nConnection: close\r\n\r\n`);
      for (let i = 0; i < 160; i++) {
        if (framing.includes("chunked")) await client.send("10000\r\n");
        await client.send(sent);
        if (framing.includes("chunked")) await client.send("\r\n");
      }
      if (framing.includes("chunked")) await client.send("0\r\n\r\n");
    })();
    const answer = await client.readToEnd();
    await sending;
    assert.equal(createHash("sha256").update(dechunk(answer)).digest("hex"), wanted, framing);
  }
  await service.shutdown();
});

function dechunk(response: string): Uint8Array {
  let at = response.indexOf("\r\n\r\n") + 4;
  const pieces: string[] = [];
  for (;;) {
    const end = response.indexOf("\r\n", at);
    const size = parseInt(response.slice(at, end), 16);
    if (!(size > 0)) break;
    pieces.push(response.slice(end + 2, end + 2 + size));
    at = end + 2 + size + 2;
  }
  return Uint8Array.from(pieces.join(""), (character) => character.charCodeAt(0));
}

Deno.test("http1: a client that does not read stops the service", async () => {
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
  await using proxy = new TestProxy({ to: service.port });
  using client = await RawPeer.to(proxy);
  await client.send(GET);
  await until(() => isBlocked, { what: "a service that waits" });
  assert(sent < 40e6, `${sent} bytes are in buffers`); // the kernel's, above all
  client.close();
  const [event] = await proxy.told();
  assert.equal(event?.fault, "client_closed");
  assert.equal(event?.status, 200);
});

Deno.test("http1: a service that does not read stops the client", async () => {
  await using service = new RawService((peer) => peer.readHead().then(() => {}));
  await using proxy = new TestProxy({ to: service.port });
  using client = await RawPeer.to(proxy);
  await client.send(`POST / HTTP/1.1\r\n${HOST}Content-Length: 1000000000\r\n\r\n`);
  let sent = 0;
  let isBlocked = false;
  const sending = (async () => {
    const block = new Uint8Array(65536);
    for (;;) {
      const timer = setTimeout(() => isBlocked = true, 300);
      sent += await client.stream.write(block).finally(() => clearTimeout(timer));
    }
  })().catch(() => {});
  await until(() => isBlocked, { what: "a client that waits" });
  assert(sent < 40e6, `${sent} bytes are in buffers`);
  client.close();
  await sending;
});

Deno.test("http1: an upgrade makes a tunnel, with what either side sent early", async () => {
  await using service = new RawService(async (peer) => {
    const head = await peer.readHead();
    assert.match(head, /\r\nConnection: Upgrade\r\nUpgrade: echo\r\n/);
    await peer.send("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\nhello ");
    for (let got; (got = await peer.readBytes(1)) !== "";) await peer.send(got);
    await peer.send(" bye");
    peer.close();
  });
  await using proxy = new TestProxy({ to: service.port });
  using client = await RawPeer.to(proxy);
  await client.send(
    `GET / HTTP/1.1\r\n${HOST}Connection: keep-alive, Upgrade\r\nUpgrade: echo, h2c\r\n\r\nea`,
  );
  assert.equal(
    await client.readHead(),
    "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n",
  );
  assert.equal(await client.readBytes(8), "hello ea");
  await client.send("rly");
  assert.equal(await client.readBytes(3), "rly");
  await client.stream.closeWrite();
  assert.equal(await client.readToEnd(), " bye");
  const [event] = await proxy.told();
  assert.deepEqual([event?.status, event?.bytesIn, event?.bytesOut, event?.fault], [101, 5, 15, undefined]);
});

Deno.test("http1: an upgrade that the service refuses is a response like any other", async () => {
  await using service = new RecordingService((peer) =>
    peer.send("HTTP/1.1 426 Upgrade Required\r\nContent-Length: 0\r\n\r\n")
  );
  await using proxy = new TestProxy({ to: service.port });
  using client = await RawPeer.to(proxy);
  for (let i = 0; i < 2; i++) {
    await client.send(`GET / HTTP/1.1\r\n${HOST}Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n`);
    assert.equal(await client.readResponse(), "HTTP/1.1 426 Upgrade Required\r\nContent-Length: 0\r\n\r\n");
  }
  assert.equal(proxy.opened, 1);
});

Deno.test("http1: 101 that nobody asked for, or to another protocol, is 502", async () => {
  await using service = new RecordingService((peer) =>
    peer.send("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: other\r\n\r\n")
  );
  await using proxy = new TestProxy({ to: service.port });
  using client = await RawPeer.to(proxy);
  await client.send(GET);
  assert.match(await client.readResponse(), /^HTTP\/1\.1 502 /);
  await client.send(`GET / HTTP/1.1\r\n${HOST}Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n`);
  assert.match(await client.readResponse(), /^HTTP\/1\.1 502 /);
  assert.deepEqual((await proxy.told(2)).map(({ detail }) => detail), ["unasked-upgrade", "unasked-upgrade"]);
});

Deno.test("http1: h2c is not offered to the service", async () => {
  await using service = new RecordingService();
  await using proxy = new TestProxy({ to: service.port });
  using client = await RawPeer.to(proxy);
  await client.send(
    `GET / HTTP/1.1\r\n${HOST}Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n\r\n`,
  );
  await client.readResponse();
  assert.doesNotMatch(service.requests[0]?.head ?? "", /upgrade|http2|connection/i);
});

const hosts: readonly (readonly [name: string, request: string, status: number])[] = [
  ["the same name", `GET / HTTP/1.1\r\n${HOST}\r\n`, 200],
  ["a port", `GET / HTTP/1.1\r\nHost: ${HOSTNAME}:8443\r\n\r\n`, 200],
  ["other letters and a final dot", `GET / HTTP/1.1\r\nHost: DEMO.localhost.\r\n\r\n`, 200],
  ["another name", "GET / HTTP/1.1\r\nHost: other.localhost\r\n\r\n", 421],
  ["a name below", `GET / HTTP/1.1\r\nHost: a.${HOSTNAME}\r\n\r\n`, 421],
  ["an address", "GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", 421],
  ["the absolute form", `GET http://${HOSTNAME}/x?y HTTP/1.1\r\n${HOST}\r\n`, 200],
  ["another absolute form", `GET http://other.localhost/ HTTP/1.1\r\nHost: other.localhost\r\n\r\n`, 421],
  ["an absolute form that Host contradicts", `GET http://other.localhost/ HTTP/1.1\r\n${HOST}\r\n`, 400],
];

for (const [name, request, status] of hosts) {
  Deno.test(`http1: ${name} as the host is answered with ${status}, also as a second request`, async () => {
    await using service = new RecordingService();
    await using proxy = new TestProxy({ to: service.port });
    using first = await RawPeer.to(proxy);
    await first.send(request);
    assert.match(await first.readResponse(), new RegExp(`^HTTP/1\\.1 ${status} `));
    using second = await RawPeer.to(proxy);
    await second.send(GET);
    await second.readResponse();
    await second.send(request);
    assert.match(await second.readResponse(), new RegExp(`^HTTP/1\\.1 ${status} `));
    assert.equal(service.requests.length, status === 200 ? 3 : 1);
    for (const { head } of service.requests) assert.match(head, /^GET \/(?:x\?y)? HTTP\/1\.1\r\nHost: /);
  });
}

Deno.test("http1: what a proxy says of its client replaces what the client says", async () => {
  await using service = new RecordingService();
  await using proxy = new TestProxy({
    to: service.port,
    secure: true,
    info: { source: { address: "2001:db8::7", port: 5 }, destination: { address: "::1", port: 443 } },
  });
  using client = await RawPeer.to(proxy);
  const claims = [
    "X-Forwarded-For",
    "x-forwarded-host",
    "X-FORWARDED-PROTO",
    "X-Forwarded-Port",
    "X-Real-IP",
  ];
  const more = ["Forwarded", "X-Forwarded-User", "X_Forwarded_For", "x-forwarded_user", "X-Client-IP"];
  const hops =
    "Connection: X-Gone, keep-alive\r\nX-Gone: 1\r\nKeep-Alive: 1\r\nProxy-Connection: x\r\nTE: gzip\r\n" +
    "Proxy-Authorization: Basic x\r\n";
  await client.send(
    `GET / HTTP/1.1\r\nHost: ${HOSTNAME}:8443\r\n${
      [...claims, ...more].map((name) => `${name}: evil\r\n`).join("")
    }${hops}X-Kept: \xe9\r\nCookie: a=b\r\n\r\n`,
  );
  await client.readResponse();
  assert.deepEqual(lines(service.requests[0]?.head ?? ""), [
    "GET / HTTP/1.1",
    `Host: ${HOSTNAME}:8443`,
    "X-Forwarded-For: 2001:db8::7",
    "X-Real-IP: 2001:db8::7",
    "X-Forwarded-Proto: https",
    "X-Forwarded-Port: 443",
    `X-Forwarded-Host: ${HOSTNAME}:8443`,
    `Forwarded: for="[2001:db8::7]";host="${HOSTNAME}:8443";proto=https`,
    "X-Kept: \xc3\xa9",
    "Cookie: a=b",
  ]);
});

for (const slowly of [false, true]) {
  Deno.test(`http1: what a client claims behind a body that comes ${slowly ? "in pieces" : "at once"} stays here`, async () => {
    await using service = new RecordingService();
    await using proxy = new TestProxy({ to: service.port });
    using client = await RawPeer.to(proxy);
    const claims =
      "X-Forwarded-User: root\r\nx_forwarded_for: 6.6.6.6\r\nContent_Length: 9\r\nX-Real-IP: x\r\n";
    const parts = [
      `POST / HTTP/1.1\r\n${HOST}Transfer-Encoding: chunked\r\n\r\n`,
      `3\r\nabc\r\n0\r\n${claims}X-Sum: 1\r\n\r\n`,
    ];
    await client.send(slowly ? parts[0] ?? "" : parts.join(""));
    if (slowly) {
      await until(() => service.requests.length > 0 || proxy.opened > 0, { what: "the request" });
      await client.send(parts[1] ?? "");
    }
    await client.readResponse();
    assert.equal(service.requests[0]?.trailers, "X-Sum: 1\r\n");
  });
}

Deno.test("http1: what belongs to the service's own connection stays there", async () => {
  await using service = new RecordingService((peer) =>
    peer.send(
      "HTTP/1.1 200 Fine\r\nConnection: X-Gone\r\nX-Gone: 1\r\nKeep-Alive: timeout=5\r\nUpgrade: h2c\r\nSet-Cookie: a\r\n" +
        "Set-Cookie: b\r\nContent-Length: 0\r\n\r\n",
    )
  );
  await using proxy = new TestProxy({ to: service.port });
  using client = await RawPeer.to(proxy);
  await client.send(GET);
  assert.equal(
    await client.readResponse(),
    "HTTP/1.1 200 Fine\r\nSet-Cookie: a\r\nSet-Cookie: b\r\nContent-Length: 0\r\n\r\n",
  );
});
