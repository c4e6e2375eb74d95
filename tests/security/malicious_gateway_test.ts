import assert from "node:assert/strict";
import { writeAll } from "../../core/byte_stream.ts";
import type { AgentEvent } from "../../plugins/ws-agent/agent/events.ts";
import { FakeGateway, service, settingsFor, startAgent } from "../plugins/ws-agent/agent/fake_gateway.ts";
import { readToEnd, serveTcp, startEcho } from "../support/echo.ts";
import { until } from "../support/until.ts";

// The agent dials only its own targets, and a gateway can't keep it, fill it or steer the terminal that it is watched on.

const encode = (text: string) => new TextEncoder().encode(text);
/** For a whole attempt to connect, here. */
const CONNECT_MS = 150;

const HANDSHAKES: readonly { name: string; answer: (conn: Deno.TcpConn) => Promise<void>; reason: RegExp }[] =
  [
    {
      name: "says nothing",
      answer: async (conn) => void await readToEnd(conn),
      reason: /did not answer in 0\.15 s/,
    },
    {
      name: "drips a header that never ends",
      async answer(conn) {
        await writeAll(conn, encode("HTTP/1.1 101 Switching Protocols\r\nX: "));
        for (;;) {
          await writeAll(conn, encode("x"));
          await new Promise((resolve) => setTimeout(resolve, 5));
        }
      },
      reason: /did not answer in 0\.15 s/,
    },
    {
      name: "sends a header of a megabyte",
      answer: (conn) =>
        writeAll(conn, encode(`HTTP/1.1 101 Switching Protocols\r\nX: ${"x".repeat(1 << 20)}`)),
      reason: /over 8192 bytes|malformed/,
    },
    {
      name: "sends 100 answers of 1xx",
      answer: (conn) => writeAll(conn, encode("HTTP/1.1 102 Processing\r\n\r\n".repeat(100))),
      reason: /^The gateway answered 102/,
    },
    {
      name: "sends it elsewhere",
      answer: (conn) =>
        writeAll(
          conn,
          encode("HTTP/1.1 307 Moved\r\nLocation: ws://169.254.169.254/\r\nContent-Length: 0\r\n\r\n"),
        ),
      reason: /^The gateway answered 307$/,
    },
    {
      name: "refuses with a body that never ends",
      async answer(conn) {
        await writeAll(conn, encode("HTTP/1.1 403 No\r\nContent-Type: text/plain\r\n\r\n"));
        for (;;) await writeAll(conn, new Uint8Array(65536).fill(0x78));
      },
      reason: /^The gateway answered 403: x{200}$/,
    },
  ];

for (const { name, answer, reason } of HANDSHAKES) {
  Deno.test(`a gateway that ${name} is left within the time for connecting, and keeps no socket`, async () => {
    let most = 0;
    await using gateway = serveTcp(async (conn) => {
      most = Math.max(most, gateway.open);
      await answer(conn);
      await readToEnd(conn);
    });
    await using running = startAgent(settingsFor({ port: gateway.address.port }, [service("a", 1)]), {
      linkTimes: { connectMs: CONNECT_MS },
    });
    await until(() => gateway.accepted >= 4, { what: "the fourth attempt" });
    for (const event of running.events.slice(0, 3)) {
      assert.ok(event.kind === "disconnected" && !event.wasConnected);
      assert.match(event.reason, reason);
    }
    assert.ok(most <= 2, `${most} connections at once`);
  });
}

Deno.test("two hundred streams at once get their own answers each, and nothing of them stays", async () => {
  await using echo = startEcho();
  await using gateway = new FakeGateway();
  await using running = startAgent(settingsFor(gateway, [service("a", echo.target)]));
  const session = await gateway.registered(0);
  const streams = await Promise.all(Array.from({ length: 200 }, () => session.open("a")));
  const answers = await Promise.all(streams.map(async (stream, i) => {
    await writeAll(stream, encode(`${i}`));
    await stream.closeWrite();
    return new TextDecoder().decode(await readToEnd(stream));
  }));
  assert.deepEqual(answers, streams.map((_, i) => `${i}`));
  await until(() => echo.open === 0, { what: "the connections to the target to end" });
  for (const stream of streams) stream.close();
  await until(() => running.agent.status.streams === 0, { what: "the streams to end" });
});

Deno.test("a service that was taken back is not reached by its old id", async () => {
  await using gone = startEcho();
  await using kept = startEcho();
  await using gateway = new FakeGateway();
  const both = [service("gone", gone.target), service("kept", kept.target)];
  const settings = settingsFor(gateway, both);
  await using running = startAgent(settings);
  const session = await gateway.registered(0, 2);
  const [serviceId] = [...session.services].find(([, { name }]) => name === "gone") ?? assert.fail();
  running.agent.update({ ...settings, services: both.slice(1) });
  await until(() => session.services.size === 1, { what: "it to be taken back" });
  const stream = await session.open("gone", { serviceId });
  await assert.rejects(readToEnd(stream), Deno.errors.ConnectionReset);
  assert.deepEqual([gone.accepted, kept.accepted], [0, 0]);
});

Deno.test("what a gateway calls things does not decide what they are", async () => {
  await using echo = startEcho();
  await using gateway = new FakeGateway();
  await using running = startAgent(settingsFor(gateway, [service("a", echo.target)]));
  const session = await gateway.registered(0);
  // It says that another service is public, at another address, with another port: nothing was asked for, so it is left.
  await session.send({
    type: "serviceRegistered",
    serviceId: "00000000-0000-4000-8000-0000000000aa",
    name: "ssh",
    url: "tcp://example.com:22",
    remotePort: 22,
  });
  await gateway.registered(1);
  const told = running.events.filter((event): event is Extract<AgentEvent, { kind: "public" }> =>
    event.kind === "public"
  );
  assert.deepEqual(told.map(({ service, target }) => [service, target]), [["a", echo.target]]);
});
