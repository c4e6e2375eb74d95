import assert from "node:assert/strict";
import { GatewayError } from "../../../../core/errors.ts";
import { HttpRefusal, refusingBackend } from "../../../../plugins/ws-agent/http/mod.ts";
import { until } from "../../../support/until.ts";
import { dial, HOSTNAME, RawPeer, RawService, TestProxy } from "./harness.ts";
import { RecordingService } from "./recording_service.ts";

const HOST = `Host: ${HOSTNAME}\r\n`;
const OK = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const get = (method: string) => `${method} / HTTP/1.1\r\n${HOST}\r\n`;

/** Takes a request and dies, the first `deaths` times. */
function dying(deaths: number, farewell = "") {
  const service = new RecordingService(async (peer, { connection }) => {
    if (connection >= deaths) return peer.send(OK);
    await peer.send(farewell);
    peer.close();
  });
  return service;
}

const sentAgain: readonly (readonly [name: string, request: string, times: number])[] = [
  ["GET", get("GET"), 2],
  ["OPTIONS", get("OPTIONS"), 2],
  ["DELETE", get("DELETE"), 2],
  ["PUT that is at hand", `PUT / HTTP/1.1\r\n${HOST}Content-Length: 3\r\n\r\nabc`, 2],
  [
    "PUT in chunks that is at hand",
    `PUT / HTTP/1.1\r\n${HOST}Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n`,
    2,
  ],
  ["POST", `POST / HTTP/1.1\r\n${HOST}Content-Length: 3\r\n\r\nabc`, 1],
  ["POST without a body", get("POST"), 1],
  ["PATCH", get("PATCH"), 1],
  ["an unknown method", get("BREW"), 1],
];

for (const [name, request, times] of sentAgain) {
  Deno.test(`retry: ${name} reaches a service that dies over it ${times === 2 ? "twice" : "once"}`, async () => {
    await using service = dying(1);
    await using proxy = new TestProxy({ to: service.port });
    using client = await RawPeer.to(proxy);
    await client.send(request);
    assert.match(await client.readResponse(), times === 2 ? /^HTTP\/1\.1 200 / : /^HTTP\/1\.1 502 /);
    assert.equal(service.requests.length, times);
    assert.equal((await proxy.told())[0]?.fault, times === 2 ? undefined : "service_closed");
  });
}

Deno.test("retry: nothing is sent a third time", async () => {
  await using service = dying(9);
  await using proxy = new TestProxy({ to: service.port });
  using client = await RawPeer.to(proxy);
  await client.send(get("GET"));
  assert.match(await client.readResponse(), /^HTTP\/1\.1 502 /);
  assert.equal(service.requests.length, 2);
});

Deno.test("retry: a PUT whose body was still on its way is not sent again", async () => {
  await using service = new RawService(async (peer) => {
    await peer.readHead();
    peer.close();
  });
  await using proxy = new TestProxy({ to: service.port, timeouts: { lingerMs: 500 } });
  using client = await RawPeer.to(proxy);
  await client.send(`PUT / HTTP/1.1\r\n${HOST}Content-Length: 9\r\n\r\nabc`);
  assert.match(await client.readToEnd(), /^HTTP\/1\.1 502 /);
  assert.equal(service.accepted, 1);
});

for (
  const beginning of [
    "HTTP/1.1 2",
    "HTTP/1.1 103 Early Hints\r\n\r\n",
    "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab",
  ]
) {
  Deno.test(`retry: nothing is sent again behind ${JSON.stringify(beginning)}`, async () => {
    await using service = dying(1, beginning);
    await using proxy = new TestProxy({ to: service.port });
    using client = await RawPeer.to(proxy);
    await client.send(get("GET"));
    await client.send(`GET / HTTP/1.1\r\n${HOST}Connection: close\r\n\r\n`);
    const answer = await client.readToEnd();
    assert.equal(service.requests[1]?.head.includes("\r\n"), beginning.includes("200 OK") ? undefined : true);
    assert.equal([...answer.matchAll(/HTTP\/1\.1 [245]0\d/g)].length, beginning.includes("200 OK") ? 1 : 2);
    const [event] = await proxy.told();
    assert.equal(event?.fault, beginning.includes("200 OK") ? "response_cut_short" : "bad_response");
  });
}

Deno.test("retry: a stream that could not be opened is opened once more, for every method", async () => {
  for (const failures of [1, 2]) {
    await using service = new RecordingService();
    let calls = 0;
    await using proxy = new TestProxy({
      to: () =>
        ++calls <= failures ? Promise.reject(new Deno.errors.ConnectionReset("gone")) : dial(service.port),
    });
    using client = await RawPeer.to(proxy);
    await client.send(get("POST"));
    assert.match(await client.readResponse(), failures === 1 ? /^HTTP\/1\.1 200 / : /^HTTP\/1\.1 502 /);
    assert.equal((await proxy.told())[0]?.fault, failures === 1 ? undefined : "agent_lost");
  }
});

Deno.test("retry: a stream that died before a byte of the request went out is replaced, for every method", async () => {
  await using service = new RecordingService();
  let calls = 0;
  await using proxy = new TestProxy({
    async to() {
      const stream = await dial(service.port);
      if (++calls > 1) return stream;
      return {
        read: (into) => stream.read(into),
        write: () => Promise.reject(new Deno.errors.ConnectionReset("gone")),
        closeWrite: () => stream.closeWrite(),
        close: () => stream.close(),
      };
    },
  });
  using client = await RawPeer.to(proxy);
  await client.send(`POST / HTTP/1.1\r\n${HOST}Content-Length: 40000\r\n\r\n${"x".repeat(40_000)}`);
  assert.match(await client.readResponse(), /^HTTP\/1\.1 200 /);
  assert.equal(service.requests.length, 1);
  assert.equal(service.requests[0]?.body.length, 40_000);
});

Deno.test("retry: a POST of which a few bytes went out before its stream died is not sent again", async () => {
  await using service = new RecordingService();
  let calls = 0;
  await using proxy = new TestProxy({
    async to() {
      calls++;
      const stream = await dial(service.port);
      let writes = 0;
      return {
        read: (into) => stream.read(into),
        write: (data) =>
          ++writes > 1
            ? Promise.reject(new Deno.errors.ConnectionReset("gone"))
            : stream.write(data.subarray(0, 5)),
        closeWrite: () => stream.closeWrite(),
        close: () => stream.close(),
      };
    },
  });
  using client = await RawPeer.to(proxy);
  await client.send(get("POST"));
  assert.match(await client.readResponse(), /^HTTP\/1\.1 502 /);
  assert.equal(calls, 1);
});

const refusals: readonly (readonly [error: Error, status: number, fault: string])[] = [
  [new GatewayError("dial-failed", "No agent"), 502, "agent_lost"],
  [new GatewayError("dial-timeout", "Too late"), 504, "agent_timeout"],
  [new HttpRefusal(404, "Nobody"), 404, "unknown_name"],
  [new HttpRefusal(502, "Gone"), 502, "agent_lost"],
  [new HttpRefusal(503, "Full"), 503, "over_limit"],
];

for (const [error, status, fault] of refusals) {
  Deno.test(`retry: ${error.name} "${error.message}" is ${status}, without another try, and says nothing of itself`, async () => {
    await using proxy = new TestProxy({ to: () => Promise.reject(error) });
    using client = await RawPeer.to(proxy);
    for (let i = 1; i <= 2; i++) {
      await client.send(get("GET"));
      const answer = await client.readResponse();
      assert.match(answer, new RegExp(`^HTTP/1\\.1 ${status} `));
      assert(!answer.includes(error.message));
      assert.equal((await proxy.told(i))[i - 1]?.fault, fault);
      assert.equal(proxy.opened, i);
    }
  });
}

Deno.test("retry: of a service that was withdrawn while it had the request it is said that it is gone, not unknown", async () => {
  await using service = dying(1);
  let calls = 0;
  await using proxy = new TestProxy({
    to: () => ++calls === 1 ? dial(service.port) : Promise.reject(new HttpRefusal(404, "Nobody")),
  });
  using client = await RawPeer.to(proxy);
  await client.send(get("GET"));
  assert.match(await client.readResponse(), /^HTTP\/1\.1 502 /);
  assert.equal((await proxy.told())[0]?.fault, "agent_lost");
});

Deno.test("retry: refusingBackend() answers every request by its status", async () => {
  const { open } = refusingBackend(HOSTNAME, 404);
  await using proxy = new TestProxy({ to: open });
  using client = await RawPeer.to(proxy);
  await client.send(`GET / HTTP/1.1\r\n${HOST}Accept: text/html\r\n\r\n`);
  const answer = await client.readResponse();
  assert.match(answer, /^HTTP\/1\.1 404 Not Found\r\ncontent-type: text\/html; charset=utf-8\r\n/);
  assert.match(answer, /<p>demo\.localhost<\/p>/);
});

Deno.test("retry: a stream that the service closed between two requests is nobody's error", async () => {
  const closed = Promise.withResolvers<void>();
  await using service = new RawService(async (peer, number) => {
    await peer.readHead();
    await peer.send(OK);
    if (number === 0) {
      peer.close();
      closed.resolve();
    } else {
      await peer.readToEnd();
    }
  });
  await using proxy = new TestProxy({ to: service.port });
  using client = await RawPeer.to(proxy);
  await client.send(get("GET"));
  assert.equal(await client.readResponse(), OK);
  await closed.promise;
  await until(() => proxy.events.length === 1, { what: "the end of the first request" });
  await new Promise((resolve) => setTimeout(resolve, 20)); // for FIN, which nothing here shows
  await client.send(get("POST"));
  assert.equal(await client.readResponse(), OK);
  assert.equal(proxy.opened, 2);
});

Deno.test("retry: a stream on which something came unasked is not used again", async () => {
  await using service = new RawService(async (peer, number) => {
    const unasked = number === 0 ? "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil" : "";
    while (await peer.readHead() !== "") await peer.send(OK + unasked);
  });
  await using proxy = new TestProxy({ to: service.port });
  using client = await RawPeer.to(proxy);
  for (let i = 0; i < 3; i++) {
    await client.send(get("GET"));
    assert.equal(await client.readResponse(), OK);
  }
  assert.equal(proxy.opened, 2);
});
