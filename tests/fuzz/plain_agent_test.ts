import assert from "node:assert/strict";
import { writeAll } from "../../core/byte_stream.ts";
import { decodeControl, encodeControl } from "../../plugins/ws-agent/control/codec.ts";
import { ControlFault } from "../../plugins/ws-agent/control/fault.ts";
import type { ControlMessage } from "../../plugins/ws-agent/control/messages.ts";
import { nodeOfConnection, parseConnectionId } from "../../plugins/ws-agent/plain/connection_id.ts";
import { MessageSocket } from "../../plugins/ws-agent/plain/message_socket.ts";
import { WebSocketFault } from "../../plugins/ws-agent/websocket/closing.ts";
import { connectWebSocket } from "../../plugins/ws-agent/websocket/connect.ts";
import { ScriptedStream, segmentsOf } from "../core/data_plane/preface/scripted_stream.ts";
import { tlsConnection } from "../plugins/connection.ts";
import { ENDPOINT, hasteOf, TestGateway, TOKENS } from "../plugins/ws-agent/harness.ts";
import { frame, joined, masked, numbered } from "../plugins/ws-agent/websocket/frames.ts";
import { pipe } from "../support/pipe.ts";
import { clientIdOf } from "../support/test_agent.ts";
import { fuzz, type Random, randomCuts } from "./fuzz.ts";

const NEVER = new AbortController().signal;
const FRAMES = [
  masked("Hello"),
  joined(masked("He", { fin: false }), masked("p", { opcode: 9 }), masked("llo", { opcode: 0 }), masked("")),
  joined(masked(numbered(200)), masked("x"), masked(Uint8Array.of(0x03, 0xe8), { opcode: 8 })),
  joined(masked("x", { fin: false }), masked(numbered(65_535), { opcode: 0 })),
  joined(masked("x", { fin: false }), masked(numbered(65_536), { opcode: 0 })),
];

/** The messages that bytes bring, and how they end. */
async function transcript(segments: readonly Uint8Array[]): Promise<string[]> {
  const socket = new MessageSocket(new ScriptedStream(segments), {
    role: "server",
    replay: new Uint8Array(),
    now: () => 0,
  });
  const lines: string[] = [];
  try {
    for (let message; (message = await socket.receive()) !== null;) lines.push(message.toHex());
    lines.push("closed");
  } catch (error) {
    const isKnown = error instanceof WebSocketFault || error instanceof ControlFault ||
      error instanceof Deno.errors.ConnectionReset;
    if (!isKnown) throw error;
    lines.push(error.message);
  }
  socket.bytes.close();
  return lines;
}

fuzz("WebSocket messages of a plain agent", () => FRAMES, async (input, random) => {
  const whole = await transcript([input]);
  for (const line of whole.slice(0, -1)) assert.ok(line.length <= 2 * 65_536);
  const cut = await transcript(segmentsOf(input, randomCuts(random, input)));
  assert.deepEqual(cut, whole);
}, 10);

const MESSAGES: readonly ControlMessage[] = [
  { type: "auth", token: "pst_nonsense", clientId: clientIdOf(2) },
  { type: "register", name: "ssh", protocol: "tcp", localPort: 22, remotePort: 30_003 },
  { type: "register", name: "any", protocol: "tcp", localPort: 22, remotePort: 0 },
  { type: "register", name: "dns", protocol: "udp", localPort: 53, remotePort: 0 },
  { type: "unregister", serviceId: clientIdOf(7) },
  { type: "heartbeat", time: 1_700_000_000_000 },
  { type: "heartbeatAck", time: 0 },
  { type: "connectAck", connectionId: clientIdOf(7) },
  { type: "connectFail", connectionId: clientIdOf(7), reason: "no\x1b[2J" },
  { type: "disconnect", reason: "bye" },
];
const ANSWERS = new Set([
  "authOk",
  "authFail",
  "registerOk",
  "registerFail",
  "heartbeat",
  "heartbeatAck",
  "disconnect",
]);
const AUTH = encodeControl({ type: "auth", token: TOKENS.alice, clientId: clientIdOf(1) });

function seeds(): Uint8Array[] {
  return [...MESSAGES.map(encodeControl), frame("x"), masked("x", { opcode: 9 })];
}

/** Whatever such an agent says, in whatever messages, the gateway answers or ends it, and nothing of it stays. */
async function checkAgent(input: Uint8Array, random: Random): Promise<void> {
  await using gateway = new TestGateway({
    section: { limits: { failedAuthPerMinute: 0, servicesPerTunnel: 3 }, reconnectGrace: 0 },
    clock: hasteOf(100),
  });
  const [near, far] = pipe();
  const served = gateway.plugin.handle(far, tlsConnection(ENDPOINT), { signal: NEVER });
  const answers: Uint8Array[] = [];
  const socket = await connectWebSocket(near, { host: ENDPOINT, path: "/tunnel/v1" });
  const reading = readAll(socket, answers);
  const isRaw = random.below(4) === 0;
  try {
    if (random.below(4) > 0) await writeAll(socket, AUTH);
    await writeAll(socket, encodeControl(random.pick(MESSAGES)));
    await writeAll(isRaw ? near : socket, input);
    await writeAll(socket, encodeControl(random.pick(MESSAGES)));
    await socket.closeWrite();
    await near.closeWrite(); // what came in between may be the start of something larger
  } catch {
    // it has been closed by now
  }
  await reading;
  near.abort();
  await served;
  for (const answer of messagesOf(joined(...answers))) assert.ok(ANSWERS.has(answer.type), answer.type);
  assert.equal(gateway.events.some(({ level }) => level === "error"), false, JSON.stringify(gateway.events));
  assert.doesNotMatch(JSON.stringify(gateway.events), /\\u00[01]/);
  assert.deepEqual(gateway.plugin.tunnels(), []);
  assert.deepEqual(gateway.plugin.routes(), []);
  assert.equal(gateway.openPorts.size + gateway.udpPorts.size, 0);
}

/** All that comes, until there is no more. */
async function readAll(
  socket: { read(into: Uint8Array): Promise<number | null> },
  into: Uint8Array[],
): Promise<void> {
  const buffer = new Uint8Array(4096);
  try {
    for (let length; (length = await socket.read(buffer)) !== null;) into.push(buffer.slice(0, length));
  } catch {
    // its end
  }
}

function messagesOf(bytes: Uint8Array): ControlMessage[] {
  const messages: ControlMessage[] = [];
  for (let at = 0; at < bytes.length;) {
    const end = at + 5 + new DataView(bytes.buffer).getUint32(at + 1);
    messages.push(decodeControl(bytes.subarray(at, end)));
    at = end;
  }
  return messages;
}

fuzz("a plain agent", seeds, checkAgent, 30);

const IDS = ["00010203-0405-0607-0809-0a0b0c0d0e0f", "00010203040506070809", "../..", "%2e"];
fuzz("ids in paths of data WebSockets", () => IDS.map((id) => new TextEncoder().encode(id)), (input) => {
  const id = parseConnectionId(new TextDecoder("latin1").decode(input));
  if (id !== undefined) assert.equal(nodeOfConnection(id, ["data-plane-0", "data-plane-1"]), undefined);
});
