/** What one token may use. */
import assert from "node:assert/strict";
import { closeQuietly, writeAll } from "../../../core/byte_stream.ts";
import { SYSTEM_CLOCK } from "../../../plugins/ws-agent/clock.ts";
import { respond } from "../../support/test_agent.ts";
import { until } from "../../support/until.ts";
import { get, portConnection, roundTrip, TestGateway, tokenEntry, TOKENS } from "./harness.ts";
import { HandClock } from "./throttle/hand_clock.ts";

function tokensWith(limits: string): string {
  return tokenEntry("alice", TOKENS.alice, `limits: { ${limits} }`) + tokenEntry("bob", TOKENS.bob);
}

Deno.test("a token has no more tunnels than it may, over all data planes; another one has its own", async () => {
  await using gateway = new TestGateway({ nodes: 2, tokens: tokensWith("tunnels: 2") });
  const first = await gateway.agent({ client: 1 });
  await gateway.agent({ client: 2, node: 1 });
  const third = await gateway.stranger({ client: 3 });
  assert.deepEqual(await third.authenticate(), {
    type: "disconnect",
    reason: "limit: This token has 2 tunnels already (limits.tunnels of the token)",
  });
  await gateway.agent({ client: 3, token: TOKENS.bob });
  first.kill();
  await gateway.logged("tunnel_closed");
  await gateway.agent({ client: 3 });
});

Deno.test("a token has no more services than it may, over all of its agents; a second connection costs none", async () => {
  await using gateway = new TestGateway({ tokens: tokensWith("services: 2") });
  const a = await gateway.agent({ client: 1, epoch: 1 });
  const again = await gateway.agent({ client: 1, epoch: 1, slot: 1 });
  const b = await gateway.agent({ client: 2 });
  await a.serve({ name: "web", protocol: "http" });
  await again.serve({ name: "web", protocol: "http" });
  const { serviceId } = await b.serve({ name: "ssh", protocol: "tcp" });
  for (const protocol of ["http", "tcp"] as const) {
    const answer = await b.register({ name: "more", protocol });
    assert.equal(
      answer.type === "registerFail" && answer.reason,
      "limit: This token has 2 services already (limits.services of the token)",
    );
  }
  await b.send({ type: "unregister", serviceId });
  await a.serve({ name: "more", protocol: "http" });
});

Deno.test("a token has no more streams than it may, over all of its tunnels, and a reload changes that", async () => {
  await using gateway = new TestGateway({ tokens: tokensWith("streams: 2") });
  for (const client of [1, 2]) {
    const agent = await gateway.agent({ client });
    await agent.serve({ name: "ssh", protocol: "tcp", remotePort: 30_000 + client });
  }
  const others = await gateway.agent({ client: 3, token: TOKENS.bob });
  await others.serve({ name: "ssh", protocol: "tcp", remotePort: 30_003 });
  const held = [await gateway.connectPort(30_001), await gateway.connectPort(30_002)];
  const rejected = { kind: "reject", reason: "over_limit", detail: "limits.streams of the token" };
  for (const port of [30_001, 30_002]) {
    assert.deepEqual(await gateway.route(portConnection(port)), rejected);
  }
  assert.equal(await roundTrip(await gateway.connectPort(30_003), "hi"), "hi");
  await gateway.reload(undefined, tokensWith("streams: 3"));
  assert.equal(await roundTrip(await gateway.connectPort(30_001), "hi"), "hi");
  await gateway.reload(undefined, tokensWith("streams: 2"));
  for (const stream of held) closeQuietly(stream);
  const isFree = () => gateway.plugin.tunnels().reduce((sum, { streams }) => sum + streams, 0) === 2;
  await until(isFree, { what: "the end of those that were closed" });
});

Deno.test("a request over the limit of its token's streams is answered 503", async () => {
  await using gateway = new TestGateway({ tokens: tokensWith("streams: 1") });
  const agent = await gateway.agent({ serve: respond("ok") });
  await agent.serve({ name: "web", protocol: "http" });
  await agent.serve({ name: "ssh", protocol: "tcp", remotePort: 30_001 });
  const held = await gateway.connectPort(30_001);
  assert.match(await get(gateway.http("web.example.com"), "web.example.com"), /^HTTP\/1.1 503 /);
  closeQuietly(held);
  await until(() => gateway.plugin.tunnels().every(({ streams }) => streams === 0), { what: "its end" });
  assert.match(await get(gateway.http("web.example.com"), "web.example.com"), /^HTTP\/1.1 200 /);
});

Deno.test("each data plane has its part of a token's streams", async () => {
  await using gateway = new TestGateway({ nodes: 2, tokens: tokensWith("streams: 2") });
  const agent = await gateway.agent();
  await agent.serve({ name: "ssh", protocol: "tcp", remotePort: 30_001 });
  await gateway.connectPort(30_001);
  assert.equal((await gateway.route(portConnection(30_001)))?.kind, "reject");
});

const KIB = 1024;

for (const way of ["to the service", "to the client"] as const) {
  Deno.test(`of a token with a bandwidth, bytes ${way} take their time, over all of its tunnels`, async () => {
    const hand = new HandClock();
    await using gateway = new TestGateway({
      tokens: tokensWith("bandwidth: 100KiB"),
      clock: {
        ...SYSTEM_CLOCK,
        monotonic: () => hand.now,
        every: (ms, task) => (ms === 20 ? hand : SYSTEM_CLOCK).every(ms, task),
      },
    });
    const piece = new Uint8Array(64 * KIB);
    let arrived = 0;
    for (const client of [1, 2]) {
      const agent = await gateway.agent({
        client,
        async serve(stream, _header, rest) {
          arrived += way === "to the service" ? rest.length : 0;
          if (way === "to the client") { for (;;) await writeAll(stream, piece); }
          const buffer = new Uint8Array(64 * KIB);
          for (let length; (length = await stream.read(buffer)) !== null;) arrived += length;
        },
      });
      await agent.serve({ name: "bulk", protocol: "tcp", remotePort: 30_000 + client });
      const stream = await gateway.connectPort(30_000 + client);
      const move = async () => {
        if (way === "to the service") { for (;;) await writeAll(stream, piece); }
        const buffer = new Uint8Array(64 * KIB);
        for (let length; (length = await stream.read(buffer)) !== null;) arrived += length;
      };
      void move().catch(() => {});
    }
    const began = hand.now;
    await until(async () => {
      await hand.pass(200);
      return arrived >= 500 * KIB;
    }, { what: () => `500 KiB, not ${arrived}` });
    // What goes at once, and a piece of each stream, need no time.
    const expectedMs = (arrived / KIB - 10 - 2 * 16) / 100 * 1000;
    assert.ok(hand.now - began >= expectedMs, `${arrived} bytes in ${hand.now - began} ms`);
  });
}
