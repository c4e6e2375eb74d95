import assert from "node:assert/strict";
import { FAULTS, RequestHead } from "../../../core/http1/mod.ts";
import { latin1 } from "../../support/smuggling.ts";

function parsed(text: string, head = new RequestHead()): RequestHead {
  assert.equal(head.parse(latin1(text)), "done");
  return head;
}

/** A GET with these fields. */
function withFields(fields: string, line = "GET / HTTP/1.1"): RequestHead {
  return parsed(`${line}\r\nHost: demo.localhost\r\n${fields}\r\n`);
}

Deno.test("RequestHead tells all there is to a request", () => {
  const head = parsed(
    "POST /a/b?c=d HTTP/1.1\r\nHost: Demo.localhost:8443\r\ncontent-length: 12\r\nX-A: 1\r\nx-a:  2 \r\n\r\nhello",
  );
  const { method, version, form, path, target, authority, body, contentLength, keepAlive, length } = head;
  assert.deepEqual({ method, version, form, path, target, body, contentLength, keepAlive, length }, {
    method: "POST",
    version: "1.1",
    form: "origin",
    path: "/a/b?c=d",
    target: "/a/b?c=d",
    body: "length",
    contentLength: 12,
    keepAlive: true,
    length: 91,
  });
  assert.deepEqual(authority, { host: "demo.localhost", name: "demo.localhost", port: 8443 });
  assert.equal(head.fields.count, 4);
  assert.equal(head.fields.name(0), "host");
  assert.equal(head.fields.value(0), "Demo.localhost:8443");
  assert.deepEqual(head.fields.getAll("x-a"), ["1", "2"]);
  assert.equal(head.fields.get("x-a"), "1");
  assert.equal(head.fields.get("x-b"), undefined);
  assert(head.fields.has("content-length"));
});

Deno.test("RequestHead leaves nothing of a request for the next one", () => {
  const head = new RequestHead();
  parsed(
    "POST /a HTTP/1.0\r\nHost: a.localhost\r\nContent-Length: 3\r\nConnection: x\r\nTE: trailers\r\n\r\n",
    head,
  );
  assert.equal(head.keepAlive, false);
  assert.notEqual(head.fields.listed, undefined);
  parsed(
    "POST /a HTTP/1.1\r\nHost: a.localhost\r\nContent-Length: 3\r\nExpect: 100-continue\r\nTE: trailers\r\n\r\n",
    head,
  );
  assert(head.expectsContinue);
  assert(head.acceptsTrailers);
  parsed("GET / HTTP/1.1\r\nHost: b.localhost\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n", head);
  assert.equal(head.upgrade, "websocket");
  parsed("GET /b HTTP/1.1\r\nHost: b.localhost\r\n\r\n", head);
  const {
    method,
    path,
    body,
    contentLength,
    keepAlive,
    expectsContinue,
    acceptsTrailers,
    upgrade,
    authority,
  } = head;
  assert.deepEqual({
    method,
    path,
    body,
    contentLength,
    keepAlive,
    expectsContinue,
    acceptsTrailers,
    upgrade,
    authority,
  }, {
    method: "GET",
    path: "/b",
    body: "none",
    contentLength: -1,
    keepAlive: true,
    expectsContinue: false,
    acceptsTrailers: false,
    upgrade: undefined,
    authority: { host: "b.localhost", name: "b.localhost", port: undefined },
  });
  assert.equal(head.fields.listed, undefined);
});

Deno.test("RequestHead begins anew after a fault", () => {
  const head = new RequestHead();
  assert.notEqual(head.parse(latin1("GET / HTTP/1.1\r\nX")), "done");
  assert.equal(
    (head.parse(latin1("GET / HTTP/1.1\r\nX : a")) as { word: string }).word,
    "space-before-colon",
  );
  parsed("GET / HTTP/1.1\r\nHost: a.localhost\r\n\r\n", head);
});

Deno.test("RequestHead says what Expect, TE and Upgrade come to", () => {
  const body = "Content-Length: 5\r\n";
  assert.equal(withFields("Expect: 100-Continue\r\n" + body).expectsContinue, true);
  assert.equal(withFields("Expect: 100-continue\r\nTransfer-Encoding: chunked\r\n").expectsContinue, true);
  assert.equal(withFields("Expect: 100-continue\r\n").expectsContinue, false, "there is no body");
  assert.equal(withFields("Expect: 100-continue\r\n" + body, "POST / HTTP/1.0").expectsContinue, false);
  assert.equal(withFields("Expect: x\r\n", "POST / HTTP/1.0").expectsContinue, false);
  assert.equal(withFields("TE: deflate;q=0.5 , Trailers\r\n").acceptsTrailers, true);
  assert.equal(withFields("TE: deflate\r\n").acceptsTrailers, false);
  const connection = "Connection: keep-alive, Upgrade\r\n";
  assert.equal(withFields(connection + "Upgrade: WebSocket\r\n").upgrade, "websocket");
  assert.equal(
    withFields(connection + "Upgrade: h2c, a/1\r\nUpgrade: websocket\r\n").upgrade,
    "a/1, websocket",
  );
  assert.equal(withFields(connection + "Upgrade: H2C\r\n").upgrade, undefined);
  assert.equal(withFields(connection).upgrade, undefined);
  assert.equal(withFields("Upgrade: websocket\r\n").upgrade, undefined, "Connection does not name it");
  assert.equal(withFields(connection + "Upgrade: websocket\r\n", "GET / HTTP/1.0").upgrade, undefined);
  assert.equal(
    withFields(connection + "Upgrade: websocket\r\n" + body).upgrade,
    undefined,
    "there is a body",
  );
});

Deno.test("RequestHead takes 32 names in Connection, be they in one field or in several, and no more", () => {
  const listing = (...counts: readonly number[]) =>
    new RequestHead().parse(new TextEncoder().encode(
      `GET / HTTP/1.1\r\nHost: a.localhost\r\n${
        counts.map((count) =>
          `Connection: ${Array.from({ length: count }, (_, i) => `x${i}`).join(", ")}\r\n`
        )
          .join("")
      }\r\n`,
    ));
  assert.equal(listing(32), "done");
  assert.equal(listing(31, 1), "done");
  assert.equal(listing(33), FAULTS.connection);
  assert.equal(listing(16, 17), FAULTS.connection);
});

Deno.test("RequestHead.pathname() has no query, and is cut", () => {
  assert.equal(withFields("", "GET /a/b?token=secret HTTP/1.1").pathname(), "/a/b");
  assert.equal(withFields("", "GET /a/b?token=secret HTTP/1.1").pathname(2), "/a");
  assert.equal(withFields("", "GET http://demo.localhost?token=secret HTTP/1.1").pathname(), "/");
  assert.equal(withFields("X: a?b\r\n", "GET /ab HTTP/1.1").pathname(), "/ab");
  assert.equal(withFields("", "OPTIONS * HTTP/1.1").pathname(), "*");
});

Deno.test("RequestHead takes heads up to its limits", () => {
  const rest = " HTTP/1.1\r\nHost: demo.localhost\r\n\r\n";
  const longest = "GET /" + "a".repeat(8192 - "GET / ".length);
  assert.equal(new RequestHead().parse(latin1(longest + rest)), "done");
  assert.deepEqual(new RequestHead().parse(latin1(longest + "a" + rest)), {
    status: 414,
    word: "target-too-long",
  });
  const head = "GET / HTTP/1.1\r\nHost: demo.localhost\r\nX: ";
  const fill = "a".repeat(32 * 1024 - head.length - 4);
  assert.equal(new RequestHead().parse(latin1(`${head}${fill}\r\n\r\n`)), "done");
  assert.deepEqual(new RequestHead().parse(latin1(`${head}${fill}a\r\n\r\n`)), {
    status: 431,
    word: "head-too-long",
  });
});

Deno.test("RequestHead looks at each byte once, however it comes", () => {
  const bytes = latin1(`GET / HTTP/1.1\r\nHost: demo.localhost\r\nX: ${"a".repeat(32_000)}\r\n\r\n`);
  const head = new RequestHead();
  const started = performance.now();
  for (let length = 0; length < bytes.length; length++) {
    assert.equal(head.parse(bytes.subarray(0, length)), "more");
  }
  assert.equal(head.parse(bytes), "done");
  // Looking at all of it for each byte that comes would take 500 million steps.
  assert(performance.now() - started < 250);
});
