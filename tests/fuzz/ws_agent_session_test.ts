import assert from "node:assert/strict";
import { encodeControl } from "../../plugins/ws-agent/control/codec.ts";
import type { ControlMessage } from "../../plugins/ws-agent/control/messages.ts";
import { isServiceName } from "../../plugins/ws-agent/names.ts";
import { hasteOf, TestGateway, TOKENS } from "../plugins/ws-agent/harness.ts";
import { clientIdOf } from "../support/test_agent.ts";
import { fuzz, type Random, randomCuts } from "./fuzz.ts";

const AUTH = encodeControl({ type: "auth", token: TOKENS.alice, clientId: clientIdOf(1) });

const MESSAGES: readonly ControlMessage[] = [
  { type: "auth", token: "pst_nonsense", clientId: clientIdOf(2) },
  { type: "registerService", name: "web", protocol: "http" },
  { type: "registerService", name: "db", protocol: "tls", hostname: "db.example.com" },
  { type: "registerService", name: "ssh", protocol: "tcp", remotePort: 30_003 },
  { type: "registerService", name: "any", protocol: "tcp", target: "127.0.0.1:22" },
  { type: "registerService", name: "game", protocol: "udp", private: true },
  { type: "registerService", name: "inner", protocol: "tcp", private: true },
  { type: "accessService", service: "inner", ttlMs: 1000 },
  { type: "accessService", service: "bob/inner" },
  { type: "accessEnded", accessId: clientIdOf(7), reason: "over" },
  { type: "register", name: "x", protocol: "tcp", localPort: 22, remotePort: 0 },
  { type: "unregister", serviceId: clientIdOf(7) },
  { type: "heartbeat", time: 1_700_000_000_000 },
  { type: "heartbeatAck", time: 0 },
  { type: "connectAck", connectionId: clientIdOf(7) },
  { type: "disconnect", reason: "bye" },
  { type: "authOk", tunnelId: clientIdOf(7) },
];

/** What a gateway says; anything else would be a fault of ours. */
const ANSWERS = new Set([
  "authOk",
  "authFail",
  "serviceRegistered",
  "registerOk",
  "registerFail",
  "heartbeatAck",
  "accessGranted",
  "accessFail",
  "accessEnded",
  "disconnect",
]);

function seeds(): Uint8Array[] {
  const encoded = MESSAGES.map(encodeControl);
  return [...encoded, Uint8Array.of(...encoded.slice(1, 13).flatMap((bytes) => [...bytes]))];
}

/** Whatever an agent says, the gateway answers in order or ends it, and nothing of it stays. */
async function check(input: Uint8Array, random: Random): Promise<void> {
  await using gateway = new TestGateway({
    section: { limits: { failedAuthPerMinute: 0, servicesPerTunnel: 3 }, reconnectGrace: 0 },
    clock: hasteOf(100),
  });
  const agent = await gateway.strangerInMemory({ epoch: 1 });
  const isIn = random.below(4) > 0;
  const all = isIn ? Uint8Array.of(...AUTH, ...input) : input;
  let from = 0;
  for (const cut of [...randomCuts(random, all), all.length]) {
    await agent.sendBytes(all.subarray(from, cut)).catch(() => {}); // it may have been closed by now
    from = cut;
  }
  await agent.control.closeWrite().catch(() => {});
  await agent.ended;
  for (const { type } of agent.received) assert.ok(ANSWERS.has(type), type);
  for (const answer of agent.received) {
    if (answer.type === "serviceRegistered") assert.ok(isServiceName(answer.name), answer.name);
  }
  assert.doesNotMatch(JSON.stringify(gateway.events), /\\u00[01]|\u202e/);
  assert.equal(gateway.events.some(({ level }) => level === "error"), false, JSON.stringify(gateway.events));
  await gateway.plugin[Symbol.asyncDispose]();
  assert.equal(gateway.plugin.tunnels().length, 0);
  assert.equal(gateway.registry.size, 0);
  assert.equal(gateway.openPorts.size, 0);
  assert.equal(gateway.plugin.routes().length, 0);
}

/** Each input is a gateway of its own, and an agent that connects to it. */
const COST = 30;

fuzz("control messages of an agent", seeds, check, COST);
