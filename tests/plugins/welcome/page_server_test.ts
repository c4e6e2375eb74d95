import assert from "node:assert/strict";
import { type ByteStream, closeQuietly, writeAll } from "../../../core/byte_stream.ts";
import type { ConnectionInfo } from "../../../core/plugin/contract.ts";
import { PageServer } from "../../../plugins/welcome/page_server.ts";
import { connection, tlsConnection } from "../connection.ts";

/** A browser's side of a connection that the page server has taken, and when it was done with it. */
interface Visit extends AsyncDisposable {
  readonly stream: Deno.TcpConn;
  readonly served: Promise<void>;
}

async function visit(
  server: PageServer,
  info: ConnectionInfo = tlsConnection("demo.localhost"),
  signal: AbortSignal = new AbortController().signal,
): Promise<Visit> {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const [accepted, stream] = await Promise.all([
    listener.accept(),
    Deno.connect({ hostname: "127.0.0.1", port: listener.addr.port }),
  ]);
  const served = server.serve(accepted, info, { signal });
  return {
    stream,
    served,
    async [Symbol.asyncDispose]() {
      closeQuietly(stream);
      await served;
    },
  };
}

interface Answer {
  readonly status: number;
  readonly headers: Headers;
  readonly body: string;
}

/** Sends one request, and reads one answer by its length. */
async function ask(stream: ByteStream, request: string): Promise<Answer> {
  await writeAll(stream, new TextEncoder().encode(request));
  const buffer = new Uint8Array(4096);
  let seen = "";
  const readMore = async () => {
    const length = await stream.read(buffer);
    if (length === null) throw new Error(`The server closed after ${JSON.stringify(seen)}`);
    seen += new TextDecoder().decode(buffer.subarray(0, length));
  };
  while (!seen.includes("\r\n\r\n")) await readMore();
  const [head = ""] = seen.split("\r\n\r\n", 1);
  const [first = "", ...lines] = head.split("\r\n");
  const headers = new Headers(lines.map((line) => line.split(/: ?/, 2) as [string, string]));
  const length = request.startsWith("HEAD") ? 0 : Number(headers.get("content-length"));
  const start = head.length + 4;
  while (seen.length < start + length) await readMore();
  return { status: Number(first.split(" ")[1]), headers, body: seen.slice(start) };
}

function request(line: string, headers: Record<string, string> = {}): string {
  const all = { host: "demo.localhost:8443", ...headers };
  return `${line} HTTP/1.1\r\n${
    Object.entries(all).map(([key, value]) => `${key}: ${value}\r\n`).join("")
  }\r\n`;
}

async function readToEnd(stream: ByteStream): Promise<void> {
  const buffer = new Uint8Array(4096);
  while (await stream.read(buffer) !== null);
}

Deno.test("a browser gets HTML, with a policy that allows nothing else", async () => {
  await using server = new PageServer();
  await using visitor = await visit(server);
  const { status, headers, body } = await ask(
    visitor.stream,
    request("GET /", { accept: "text/html,*/*;q=0.8" }),
  );
  assert.equal(status, 200);
  assert.equal(headers.get("content-type"), "text/html; charset=utf-8");
  assert.match(headers.get("content-security-policy") ?? "", /^default-src 'none';/);
  assert.equal(headers.get("x-content-type-options"), "nosniff");
  assert.match(body, /<strong>demo\.localhost<\/strong>/);
});

Deno.test("curl gets plain text", async () => {
  await using server = new PageServer();
  await using visitor = await visit(server);
  const { status, headers, body } = await ask(visitor.stream, request("GET /", { accept: "*/*" }));
  assert.equal(status, 200);
  assert.equal(headers.get("content-type"), "text/plain; charset=utf-8");
  assert.match(body, /^Postern is running/);
});

Deno.test("one connection serves several requests", async () => {
  await using server = new PageServer();
  await using visitor = await visit(server);
  for (let i = 0; i < 3; i++) assert.equal((await ask(visitor.stream, request("GET /"))).status, 200);
});

Deno.test("HEAD gets the headers of GET and no body", async () => {
  await using server = new PageServer();
  await using visitor = await visit(server);
  const head = await ask(visitor.stream, request("HEAD /"));
  const get = await ask(visitor.stream, request("GET /"));
  assert.equal(head.status, 200);
  assert.equal(head.headers.get("content-length"), get.headers.get("content-length"));
  assert.equal(head.body, "");
});

for (const method of ["POST", "PUT", "DELETE", "OPTIONS"]) {
  Deno.test(`${method} gets 405 and the end of the connection, however long its body`, async () => {
    await using server = new PageServer();
    await using visitor = await visit(server);
    const { status, headers } = await ask(
      visitor.stream,
      request(`${method} /`, { "content-length": "1000000" }),
    );
    assert.equal(status, 405);
    assert.equal(headers.get("allow"), "GET, HEAD");
    await readToEnd(visitor.stream);
    await visitor.served;
  });
}

Deno.test("another path gets 404", async () => {
  await using server = new PageServer();
  await using visitor = await visit(server);
  assert.equal((await ask(visitor.stream, request("GET /favicon.ico"))).status, 404);
});

const hosts: { host: string; status: number }[] = [
  { host: "demo.localhost", status: 200 },
  { host: "DEMO.localhost.:8443", status: 200 },
  { host: "other.localhost", status: 421 },
  { host: "demo.localhost.evil.example", status: 421 },
  { host: "127.0.0.1:8443", status: 421 },
  { host: "", status: 421 },
];
for (const { host, status } of hosts) {
  Deno.test(`Host "${host}" behind TLS for "demo.localhost" gets ${status}`, async () => {
    await using server = new PageServer();
    await using visitor = await visit(server);
    assert.equal((await ask(visitor.stream, request("GET /"))).status, 200);
    assert.equal((await ask(visitor.stream, request("GET /", { host }))).status, status);
  });
}

Deno.test("plain HTTP gets the page for any Host, with no more of it than a name", async () => {
  await using server = new PageServer();
  await using visitor = await visit(server, connection({ protocol: "http" }));
  const { status, body } = await ask(visitor.stream, request("GET /", { host: "<b>", accept: "text/html" }));
  assert.equal(status, 200);
  assert.match(body, /<strong>localhost<\/strong>/);
});

Deno.test("what is no HTTP gets 400", async () => {
  await using server = new PageServer();
  await using visitor = await visit(server);
  const answer = new Uint8Array(64);
  await writeAll(visitor.stream, new TextEncoder().encode("\0\0\0\r\n\r\n"));
  await visitor.stream.read(answer);
  assert.match(new TextDecoder().decode(answer), /^HTTP\/1\.1 400 /);
  await readToEnd(visitor.stream);
  await visitor.served;
});

Deno.test("a client that has sent all it wants still gets its answer, and then the end", async () => {
  await using server = new PageServer();
  await using visitor = await visit(server);
  await writeAll(visitor.stream, new TextEncoder().encode(request("GET /")));
  await visitor.stream.closeWrite();
  const answer = new Uint8Array(64);
  await visitor.stream.read(answer);
  assert.match(new TextDecoder().decode(answer), /^HTTP\/1\.1 200 /);
  await readToEnd(visitor.stream);
  await visitor.served;
});

Deno.test("serving is over when the client leaves, when the gateway says so, and when the server ends", async () => {
  const server = new PageServer();
  const leaving = await visit(server);
  leaving.stream.close();
  await leaving.served;

  const stop = new AbortController();
  await using aborted = await visit(server, tlsConnection("demo.localhost"), stop.signal);
  stop.abort();
  await aborted.served;
  await using late = await visit(server, tlsConnection("demo.localhost"), stop.signal);
  await late.served;

  await using last = await visit(server);
  assert.equal((await ask(last.stream, request("GET /"))).status, 200);
  await server[Symbol.asyncDispose]();
  await last.served;
  await readToEnd(last.stream);
});
