import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { writeAll } from "../../core/byte_stream.ts";
import {
  readToEnd,
  serveTcp,
  startEcho,
  startReset,
  startResponder,
  startSilent,
  startSink,
  startSource,
} from "../support/echo.ts";
import { until } from "../support/until.ts";

const encode = (text: string) => new TextEncoder().encode(text);
const decode = (bytes: Uint8Array) => new TextDecoder().decode(bytes);

Deno.test("an echo server returns what came, then its FIN", async () => {
  await using server = startEcho();
  using client = await Deno.connect(server.address);
  await writeAll(client, encode("hello"));
  await client.closeWrite();
  assert.equal(decode(await readToEnd(client)), "hello");
  assert.equal(server.accepted, 1);
  await until(() => server.open === 0, { what: "the server's side to close" });
});

Deno.test("a sink tells the length and hash of what came", async () => {
  const data = randomBytes(300_000);
  await using server = startSink();
  using client = await Deno.connect(server.address);
  await writeAll(client, data);
  await client.closeWrite();
  assert.equal((await readToEnd(client)).length, 0);
  const sha256 = createHash("sha256").update(data).digest("hex");
  assert.deepEqual(server.received, [{ bytes: 300_000, sha256 }]);
  assert.equal(server.accepted, 1);
});

Deno.test("a source sends once it was spoken to", async () => {
  const data = new Uint8Array(randomBytes(300_000));
  await using server = startSource(data);
  using client = await Deno.connect(server.address);
  await writeAll(client, encode("go"));
  assert.deepEqual(await readToEnd(client), data);
});

Deno.test("a responder answers behind the client's FIN", async () => {
  await using server = startResponder((request) => request.toReversed());
  using client = await Deno.connect(server.address);
  await writeAll(client, encode("ping"));
  await client.closeWrite();
  assert.equal(decode(await readToEnd(client)), "gnip");
});

Deno.test("a silent server holds connections until it is disposed", async () => {
  const server = startSilent();
  using client = await Deno.connect(server.address);
  await until(() => server.open === 1, { what: "the server to accept" });
  await server[Symbol.asyncDispose]();
  assert.equal(await client.read(new Uint8Array(1)), null);
});

Deno.test("a resetting server answers data with a RST", async () => {
  await using server = await startReset();
  using client = await Deno.connect(server.address);
  await writeAll(client, encode("x"));
  await assert.rejects(client.read(new Uint8Array(1)), Deno.errors.ConnectionReset);
  assert.equal(server.accepted, 1);
});

Deno.test("a resetting server can reset at once", async () => {
  await using server = await startReset({ at: "accept" });
  // The RST may overtake what Deno does between connecting and handing out the connection.
  await assert.rejects(async () => {
    using client = await Deno.connect(server.address);
    await client.read(new Uint8Array(1));
  }, Deno.errors.ConnectionReset);
});

Deno.test("a handler that fails makes the server's disposal reject", async () => {
  const server = serveTcp(() => {
    throw new RangeError("wrong");
  });
  using client = await Deno.connect(server.address);
  assert.equal(await client.read(new Uint8Array(1)), null);
  await assert.rejects(async () => await server[Symbol.asyncDispose](), AggregateError);
});
