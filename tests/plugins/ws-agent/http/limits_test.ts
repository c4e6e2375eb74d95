import assert from "node:assert/strict";
import { until } from "../../../support/until.ts";
import { HOSTNAME, RawPeer, RawService, TestProxy } from "./harness.ts";
import { RecordingService } from "./recording_service.ts";

const HOST = `Host: ${HOSTNAME}\r\n`;
const GET = `GET / HTTP/1.1\r\n${HOST}\r\n`;
const POST = `POST / HTTP/1.1\r\n${HOST}Content-Length: 9\r\n\r\nabc`;
const OK = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/** Sends a byte now and then, until the other side has had enough. */
function drip(peer: RawPeer, byte: string): Disposable {
  const timer = setInterval(() => void peer.send(byte).catch(() => {}), 50);
  return { [Symbol.dispose]: () => clearInterval(timer) };
}

Deno.test("limits: a head that comes too slowly is 408, however steadily it comes", async () => {
  await using service = new RecordingService();
  await using proxy = new TestProxy({ to: service.port, timeouts: { headerMs: 100 } });
  using client = await RawPeer.to(proxy);
  await client.send("GET / HTTP/1.1\r\nX: ");
  using _ = drip(client, "x");
  assert.match(await client.readToEnd(), /^HTTP\/1\.1 408 Request Timeout\r\n.*\r\nConnection: close\r\n/s);
  const [event] = await proxy.told();
  assert.deepEqual([event?.status, event?.fault], [408, "request_timeout"]);
  assert.equal(proxy.opened, 0);
});

Deno.test("limits: the rest of a head that comes while 408 is being sent comes too late", async () => {
  const answering = Promise.withResolvers<void>(), mayAnswer = Promise.withResolvers<void>();
  const read = Promise.withResolvers<void>();
  await using proxy = new TestProxy({
    to: 1,
    timeouts: { headerMs: 100 },
    accept: (socket) =>
      Promise.resolve({
        info: {},
        stream: {
          async read(into) {
            const length = await socket.read(into);
            if (new TextDecoder().decode(into.subarray(0, length ?? 0)).endsWith("\r\n\r\n")) read.resolve();
            return length;
          },
          async write(data) {
            answering.resolve();
            await mayAnswer.promise;
            return await socket.write(data);
          },
          closeWrite: () => socket.closeWrite(),
          close: () => socket.close(),
        },
      }),
  });
  using client = await RawPeer.to(proxy);
  await client.send(`GET / HTTP/1.1\r\n${HOST}`);
  await answering.promise;
  await client.send("\r\n\r\n");
  await read.promise;
  mayAnswer.resolve();
  assert.equal((await client.readToEnd()).match(/HTTP\/1\.1 /g)?.length, 1);
  assert.deepEqual((await proxy.told()).map(({ status }) => status), [408]);
  assert.equal(proxy.opened, 0);
});

Deno.test("limits: a connection without a request is closed without a word", async () => {
  await using proxy = new TestProxy({ to: 1, timeouts: { keepAliveMs: 100 } });
  using client = await RawPeer.to(proxy);
  assert.equal(await client.readToEnd(), "");
  assert.deepEqual(proxy.events, []);
});

Deno.test("limits: a connection whose next request does not come is closed, its stream too", async () => {
  const ended = Promise.withResolvers<void>();
  await using service = new RawService(async (peer) => {
    await peer.readHead();
    await peer.send(OK);
    await peer.readToEnd();
    ended.resolve();
  });
  await using proxy = new TestProxy({ to: service.port, timeouts: { keepAliveMs: 100 } });
  using client = await RawPeer.to(proxy);
  await client.send(GET);
  assert.equal(await client.readToEnd(), OK);
  await ended.promise;
});

Deno.test("limits: a body that stops coming is 408", async () => {
  await using service = new RecordingService();
  await using proxy = new TestProxy({ to: service.port, timeouts: { bodyMs: 100, lingerMs: 100 } });
  using client = await RawPeer.to(proxy);
  await client.send(POST);
  assert.match(await client.readToEnd(), /^HTTP\/1\.1 408 /);
  assert.deepEqual((await proxy.told()).map(({ fault }) => fault), ["request_timeout"]);
});

Deno.test("limits: a service that does not answer is 504", async () => {
  await using service = new RawService((peer) => peer.readToEnd().then(() => {}));
  await using proxy = new TestProxy({ to: service.port, timeouts: { responseMs: 100 } });
  using client = await RawPeer.to(proxy);
  await client.send(GET);
  assert.match(await client.readToEnd(), /^HTTP\/1\.1 504 Gateway Timeout\r\n/);
  assert.deepEqual((await proxy.told()).map(({ fault }) => fault), ["response_timeout"]);
});

Deno.test("limits: a stream that does not open in time is 504", async () => {
  let signal: AbortSignal | undefined;
  await using proxy = new TestProxy({
    to: (given) =>
      new Promise((_, reject) => (signal = given).addEventListener("abort", () => reject(given.reason))),
    timeouts: { responseMs: 100 },
  });
  using client = await RawPeer.to(proxy);
  await client.send(GET);
  assert.match(await client.readToEnd(), /^HTTP\/1\.1 504 /);
  await until(() => signal?.aborted, { what: "the end of the opening" });
});

Deno.test("limits: a body in which nothing moves ends with the idle limit, one that drips does not", async () => {
  await using service = new RawService(async (peer) => {
    const isDripping = (await peer.readHead()).startsWith("GET /drip ");
    await peer.send("HTTP/1.1 200 OK\r\nContent-Length: 30\r\n\r\n");
    if (!isDripping) return void await peer.readToEnd();
    using _ = drip(peer, "x");
    await peer.readToEnd();
  });
  await using proxy = new TestProxy({ to: service.port, timeouts: { idleMs: 600 } });
  using dripping = await RawPeer.to(proxy);
  await dripping.send(`GET /drip HTTP/1.1\r\n${HOST}\r\n`);
  assert((await dripping.readResponse()).endsWith("x".repeat(30)));
  using silent = await RawPeer.to(proxy);
  await silent.send(GET);
  await silent.readHead();
  assert.equal(await silent.readToEnd(), "");
  assert.equal((await proxy.told(2))[1]?.fault, "idle_timeout");
});

Deno.test("limits: an upgraded connection in which nothing moves ends", async () => {
  await using service = new RawService(async (peer) => {
    await peer.readHead();
    await peer.send("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n");
    await peer.readToEnd();
  });
  await using proxy = new TestProxy({ to: service.port, timeouts: { idleMs: 100 } });
  using client = await RawPeer.to(proxy);
  await client.send(`GET / HTTP/1.1\r\n${HOST}Connection: Upgrade\r\nUpgrade: x\r\n\r\n`);
  await client.readHead();
  assert.equal(await client.readToEnd(), "");
  assert.equal((await proxy.told())[0]?.fault, "idle_timeout");
});

Deno.test("limits: a client that resets while the service thinks ends the stream to the service", async () => {
  const gone = Promise.withResolvers<void>();
  const there = Promise.withResolvers<void>();
  await using service = new RawService(async (peer) => {
    await peer.readHead();
    there.resolve();
    await peer.readToEnd();
    gone.resolve();
  });
  await using proxy = new TestProxy({ to: service.port, secure: true });
  using client = await RawPeer.to(proxy);
  await client.send(GET);
  await there.promise;
  client.close();
  await gone.promise;
  assert.deepEqual((await proxy.told()).map(({ status, fault }) => [status, fault]), [[0, "client_closed"]]);
});

Deno.test("limits: a client without TLS that has sent FIN still gets its answer", async () => {
  const half = Promise.withResolvers<void>();
  await using service = new RecordingService(async (peer) => {
    await half.promise;
    await peer.send(OK);
  });
  await using proxy = new TestProxy({ to: service.port });
  using client = await RawPeer.to(proxy);
  await client.send(GET);
  await client.stream.closeWrite();
  half.resolve();
  assert.equal(await client.readToEnd(), OK);
});

Deno.test("limits: draining closes what is idle at once, and what is busy behind its answer", async () => {
  const there = Promise.withResolvers<void>();
  const answer = Promise.withResolvers<void>();
  await using service = new RecordingService(async (peer) => {
    there.resolve();
    await answer.promise;
    await peer.send(OK);
  });
  await using proxy = new TestProxy({ to: service.port });
  using idle = await RawPeer.to(proxy);
  using busy = await RawPeer.to(proxy);
  await busy.send(GET);
  await there.promise;
  proxy.drain();
  assert.equal(await idle.readToEnd(), "");
  answer.resolve();
  assert.equal(await busy.readToEnd(), "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok");
  assert.equal((await proxy.told())[0]?.fault, undefined);
});

Deno.test("limits: a connection that is closed by the gateway tells its request's end", async () => {
  const there = Promise.withResolvers<void>();
  await using service = new RawService(async (peer) => {
    await peer.readHead();
    there.resolve();
    await peer.readToEnd();
  });
  const proxy = new TestProxy({ to: service.port });
  using client = await RawPeer.to(proxy);
  await client.send(GET);
  await there.promise;
  await proxy[Symbol.asyncDispose]();
  assert.equal(await client.readToEnd(), "");
  assert.deepEqual(proxy.events.map(({ status, fault }) => [status, fault]), [[0, "closed"]]);
});
