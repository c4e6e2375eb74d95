import assert from "node:assert/strict";
import { closeQuietly, writeAll } from "../../../../../core/byte_stream.ts";
import type { FetchHandler } from "../../../../../plugins/ws-agent/agent/library/mod.ts";
import { until } from "../../../../support/until.ts";
import { encode, readUntil, type Started, startLibrary } from "./start.ts";

const CLOSE = "Host: app.example.com\r\nConnection: close\r\n\r\n";

function serve(fetch: FetchHandler): Promise<Started> {
  return startLibrary([{ name: "app", protocol: "http", fetch }]);
}

/** Sends one request, and resolves to all that is answered. */
async function ask(started: Started, request: string): Promise<string> {
  const stream = await started.send("app", request);
  const answer = await readUntil(stream);
  closeQuietly(stream);
  return answer.replace(/^Date: .*\r\n/m, "");
}

Deno.test("a request arrives as the public sent it, and what ends at this hop does not", async () => {
  let seen: Request | undefined, client = "";
  await using started = await serve((request, connection) => {
    seen = request;
    client = `${connection.service} ${connection.client.address}:${connection.client.port} ${connection.id}`;
    return new Response("hello", { headers: { "content-length": "5", "x-answer": "yes" } });
  });
  const answer = await ask(
    started,
    "GET //other.example/a?b=c HTTP/1.1\r\nHost: app.example.com:8443\r\nX-Forwarded-Proto: https\r\nX-One: 1\r\n" +
      "X-One: 2\r\nTE: trailers\r\nX-Hop: 1\r\nConnection: close, x-hop, upgrade\r\nUpgrade: websocket\r\n\r\n",
  );
  assert.equal(
    answer,
    "HTTP/1.1 200 OK\r\ncontent-type: text/plain;charset=UTF-8\r\nx-answer: yes\r\nContent-Length: 5\r\n" +
      "Connection: close\r\n\r\nhello",
  );
  assert.equal(seen?.url, "https://app.example.com:8443//other.example/a?b=c");
  assert.deepEqual([...seen?.headers ?? []], [
    ["host", "app.example.com:8443"],
    ["x-forwarded-proto", "https"],
    ["x-one", "1, 2"],
  ]);
  assert.equal(client, "app 203.0.113.9:4711 c-1");
});

const FRAMINGS: readonly {
  readonly name: string;
  readonly request?: string;
  readonly response: () => Response;
  readonly answer: string;
}[] = [
  {
    name: "a body of unknown length is sent in chunks",
    response: () => new Response(ReadableStream.from([encode("ab"), encode("c")])),
    answer:
      "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n",
  },
  {
    name: "HTTP/1.0 gets it up to the end of the connection",
    request: "GET / HTTP/1.0\r\nHost: app.example.com\r\nConnection: keep-alive\r\n\r\n",
    response: () => new Response(ReadableStream.from([encode("ab"), encode("c")])),
    answer: "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nabc",
  },
  {
    name: "no body is a body of no length",
    response: () => new Response(null, { status: 201 }),
    answer: "HTTP/1.1 201 Created\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
  },
  {
    name: "204 has neither body nor length",
    response: () => new Response(null, { status: 204, headers: { "content-length": "3" } }),
    answer: "HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n",
  },
  {
    name: "304 has no body",
    response: () => new Response(null, { status: 304, headers: { etag: '"1"' } }),
    answer: 'HTTP/1.1 304 Not Modified\r\netag: "1"\r\nConnection: close\r\n\r\n',
  },
  {
    name: "HEAD gets the head alone, with the length that GET would have had",
    request: `HEAD / HTTP/1.1\r\n${CLOSE}`,
    response: () => new Response(new Uint8Array(9), { headers: { "content-length": "9" } }),
    answer: "HTTP/1.1 200 OK\r\nContent-Length: 9\r\nConnection: close\r\n\r\n",
  },
  {
    name: "a handler does not say how the connection goes on",
    response: () =>
      new Response(null, {
        headers: { connection: "keep-alive", "transfer-encoding": "gzip", trailer: "x" },
      }),
    answer: "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
  },
  {
    name: "cookies stay apart, and another reason phrase is sent",
    response: () =>
      new Response(null, {
        status: 299,
        statusText: "Odd",
        headers: [["set-cookie", "a=1"], ["set-cookie", "b=2"]],
      }),
    answer:
      "HTTP/1.1 299 Odd\r\nset-cookie: a=1\r\nset-cookie: b=2\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
  },
];

for (const { name, request = `GET / HTTP/1.1\r\n${CLOSE}`, response, answer } of FRAMINGS) {
  Deno.test(`the answer of a handler: ${name}`, async () => {
    await using started = await serve(response);
    assert.equal(await ask(started, request), answer);
  });
}

Deno.test("a connection goes on for request after request, also behind a body that nobody read", async () => {
  const paths: string[] = [];
  await using started = await serve((request) => {
    paths.push(new URL(request.url).pathname);
    return new Response(null, { status: 200 });
  });
  const stream = await started.send("app", "GET /a HTTP/1.1\r\nHost: a.example.com\r\n\r\n");
  await readUntil(stream, "\r\n\r\n");
  await writeAll(stream, encode("POST /b HTTP/1.1\r\nHost: a.example.com\r\nContent-Length: 100000\r\n\r\n"));
  await writeAll(stream, new Uint8Array(100_000));
  await readUntil(stream, "\r\n\r\n");
  await writeAll(stream, encode(`GET /c HTTP/1.1\r\n${CLOSE}`));
  assert.match(await readUntil(stream), /^HTTP\/1\.1 200 OK\r\n/);
  closeQuietly(stream);
  assert.deepEqual(paths, ["/a", "/b", "/c"]);
});

Deno.test("bodies go both ways at the same time, as they come", async () => {
  await using started = await serve((request) => new Response(request.body));
  const stream = await started.send(
    "app",
    "POST / HTTP/1.1\r\nHost: app.example.com\r\nTransfer-Encoding: chunked\r\n\r\n",
  );
  await writeAll(stream, encode("3\r\none\r\n"));
  assert.match(await readUntil(stream, "3\r\none\r\n"), /chunked/);
  await writeAll(stream, encode("3\r\ntwo\r\n"));
  assert.equal(await readUntil(stream, "two\r\n"), "3\r\ntwo\r\n");
  await writeAll(stream, encode("0\r\nX-Trailer: gone\r\n\r\n"));
  assert.equal(await readUntil(stream, "0\r\n\r\n"), "0\r\n\r\n");
  closeQuietly(stream);
});

Deno.test("a handler that reads the body into memory of its own sees its end", async () => {
  await using started = await serve(async (request) => {
    const reader = request.body?.getReader({ mode: "byob" }) ?? assert.fail("There is no body");
    let length = 0;
    for (;;) {
      const { done, value } = await reader.read(new Uint8Array(64));
      if (done) return new Response(`${length} bytes`);
      length += value.length;
    }
  });
  const stream = await started.send(
    "app",
    "POST / HTTP/1.1\r\nHost: app.example.com\r\nContent-Length: 3\r\n\r\nabc",
  );
  assert.match(await readUntil(stream, "0\r\n\r\n"), /^HTTP\/1\.1 200 [^]*3 bytes/);
  closeQuietly(stream);
});

Deno.test("4 MiB go up and come down whole", async () => {
  const size = 4 << 20;
  await using started = await serve(async (request) => {
    const body = await request.bytes();
    return new Response(body.toReversed(), { headers: { "content-length": String(body.length) } });
  });
  const data = new Uint8Array(size).map((_, i) => (i * 7 + (i >> 8)) & 0x7f);
  const stream = await started.send(
    "app",
    `PUT / HTTP/1.1\r\nContent-Length: ${size}\r\n${CLOSE}`,
  );
  const sending = writeAll(stream, data);
  const answer = await readUntil(stream);
  await sending;
  closeQuietly(stream);
  const body = answer.slice(answer.indexOf("\r\n\r\n") + 4);
  assert.equal(body.length, size);
  assert.ok(data.toReversed().every((byte, i) => body.charCodeAt(i) === byte));
});

Deno.test("a client that does not read holds the handler's stream back", async () => {
  let pulled = 0;
  await using started = await serve(() =>
    new Response(
      new ReadableStream({
        pull(controller) {
          pulled++;
          controller.enqueue(new Uint8Array(64 * 1024));
        },
      }),
    )
  );
  const stream = await started.send("app", `GET / HTTP/1.1\r\n${CLOSE}`);
  let before = -1;
  await until(() => {
    const isQuiet = pulled > 0 && pulled === before;
    before = pulled;
    return isQuiet;
  }, { what: "it to wait" });
  assert.ok(pulled < 200, `${pulled} pieces of 64 KiB`);
  stream.reset();
});

Deno.test("100 Continue is said when the handler wants the body, and only then", async () => {
  await using started = await serve(async (request) =>
    new Response(new URL(request.url).pathname === "/read" ? await request.text() : null, {
      headers: new URL(request.url).pathname === "/read" ? { "content-length": "2" } : {},
    })
  );
  const head = (path: string) =>
    `PUT ${path} HTTP/1.1\r\nHost: a.example.com\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n`;
  const read = await started.send("app", head("/read"));
  assert.equal(await readUntil(read, "\r\n\r\n"), "HTTP/1.1 100 Continue\r\n\r\n");
  await writeAll(read, encode("hi"));
  const answer = await readUntil(read, "hi");
  assert.match(answer, /^HTTP\/1\.1 200 OK/);
  assert.doesNotMatch(answer, /close/, "the body was read: the connection goes on");
  closeQuietly(read);
  assert.match(
    await ask(started, head("/unread")),
    /^HTTP\/1\.1 200 OK\r\n(?:.*\r\n)*Connection: close\r\n\r\n$/,
  );
});

const STREAMED: Readonly<Record<string, FetchHandler>> = {
  "as it is": ({ body }) => new Response(body),
  "by way of a stream": ({ body }) => new Response(body?.pipeThrough(new TransformStream())),
};

for (const [how, fetch] of Object.entries(STREAMED)) {
  Deno.test(`a client that waits for 100 is answered with its own request, ${how}`, async () => {
    await using started = await serve(fetch);
    const stream = await started.send(
      "app",
      "POST / HTTP/1.1\r\nHost: a.example.com\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n",
    );
    const before = await readUntil(stream, "\r\n\r\n");
    assert.match(before, /^HTTP\/1\.1 100 Continue\r\n\r\n/);
    await writeAll(stream, encode("hi"));
    const all = before + await readUntil(stream);
    assert.match(all, /\r\n\r\nHTTP\/1\.1 200 OK\r\n(?:.+\r\n)+\r\n2\r\nhi\r\n0\r\n\r\n$/);
    closeQuietly(stream);
  });
}

const FAULTS: readonly { readonly name: string; readonly fetch: FetchHandler; readonly reason: RegExp }[] = [
  { name: "throws", fetch: () => assert.fail("a secret"), reason: /^a secret$/ },
  { name: "rejects", fetch: () => Promise.reject(new Error("a secret")), reason: /^a secret$/ },
  {
    name: "answers with something else",
    fetch: () => ({ status: 200 }) as unknown as Response,
    reason: /must answer with a Response/,
  },
  { name: "answers with an error response", fetch: () => Response.error(), reason: /status 0/ },
  {
    name: "answers with a body that was read",
    fetch: async () => {
      const response = new Response("x");
      await response.text();
      return response;
    },
    reason: /in use/,
  },
  {
    name: "says a length that is none",
    fetch: () => new Response("x", { headers: { "content-length": "1x" } }),
    reason: /Content-Length is no length/,
  },
];

for (const { name, fetch, reason } of FAULTS) {
  Deno.test(`a handler that ${name}: the client gets a 500 that does not say why, the program is told`, async () => {
    await using started = await serve(fetch);
    const answer = await ask(started, `GET / HTTP/1.1\r\n${CLOSE}`);
    assert.match(answer, /^HTTP\/1\.1 500 Internal Server Error\r\n/);
    assert.ok(answer.endsWith("\r\n\r\n1a\r\n500 Internal Server Error\n\r\n0\r\n\r\n"), answer);
    const event = started.events.find(({ kind }) => kind === "handler_failed");
    assert.ok(event?.kind === "handler_failed" && event.service === "app" && event.connection === "c-1");
    assert.match(event.reason, reason);
  });
}

const BROKEN: readonly {
  readonly name: string;
  readonly body: () => ReadableStream;
  readonly length?: number;
}[] = [
  {
    name: "fails",
    body: () =>
      ReadableStream.from((async function* () {
        yield encode("ab");
        await Promise.resolve();
        throw new Error("a secret");
      })()),
  },
  { name: "is longer than its Content-Length", body: () => ReadableStream.from([encode("abcd")]), length: 3 },
  { name: "is shorter than its Content-Length", body: () => ReadableStream.from([encode("ab")]), length: 3 },
  { name: "is not made of bytes", body: () => ReadableStream.from(["text"]) },
];

for (const { name, body, length } of BROKEN) {
  Deno.test(`an answer whose body ${name} is reset, and never looks whole`, async () => {
    await using started = await serve(() =>
      new Response(body(), { headers: length === undefined ? {} : { "content-length": String(length) } })
    );
    await assert.rejects(ask(started, `GET / HTTP/1.1\r\n${CLOSE}`), Deno.errors.ConnectionReset);
    await until(() => started.events.some(({ kind }) => kind === "handler_failed"), { what: "the event" });
  });
}

Deno.test("a client that goes away aborts the request, and the body of the answer is cancelled", async () => {
  const aborted = Promise.withResolvers<void>(), cancelled = Promise.withResolvers<void>();
  await using started = await serve((request) => {
    request.signal.addEventListener("abort", () => aborted.resolve());
    return new Response(
      new ReadableStream({
        start: (controller) => controller.enqueue(encode("x")),
        cancel: cancelled.resolve,
      }),
    );
  });
  const stream = await started.send("app", `GET / HTTP/1.1\r\n${CLOSE}`);
  await readUntil(stream, "x\r\n");
  stream.reset();
  await aborted.promise;
  await cancelled.promise;
  assert.ok(!started.events.some(({ kind }) => kind === "handler_failed"), "that is nobody's fault");
});

Deno.test("a body that breaks a rule fails in the handler", async () => {
  const failure = Promise.withResolvers<unknown>();
  await using started = await serve(async (request) => {
    await request.text().catch(failure.resolve);
    return new Response(null);
  });
  const stream = await started.send("app", `POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n${CLOSE}`);
  await writeAll(stream, encode("zz\r\n"));
  assert.match(String(await failure.promise), /chunk-size/);
  await readUntil(stream);
  closeQuietly(stream);
});

const REFUSED: readonly { readonly name: string; readonly request: string; readonly status: number }[] = [
  {
    name: "both framings",
    request: `POST / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n${CLOSE}`,
    status: 400,
  },
  { name: "a bare LF", request: "GET / HTTP/1.1\nHost: a\n\n", status: 400 },
  { name: "two hosts", request: `GET / HTTP/1.1\r\nHost: b\r\n${CLOSE}`, status: 400 },
  { name: "a method that no Request can have", request: `TRACK / HTTP/1.1\r\n${CLOSE}`, status: 501 },
  { name: "a head without end", request: `GET / HTTP/1.1\r\nX: ${"x".repeat(40_000)}`, status: 431 },
];

for (const { name, request, status } of REFUSED) {
  Deno.test(`${name}: ${status}, and the handler is not asked`, async () => {
    let asked = 0;
    await using started = await serve(() => {
      asked++;
      return new Response(null);
    });
    assert.match(await ask(started, request), new RegExp(`^HTTP/1\\.1 ${status} `));
    assert.equal(asked, 0);
  });
}
