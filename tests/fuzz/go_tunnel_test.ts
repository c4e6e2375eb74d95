import assert from "node:assert/strict";
import { ControlFault } from "../../plugins/ws-agent/control/fault.ts";
import { LineReader } from "../../plugins/ws-agent/go_tunnel/line_reader.ts";
import { type FromGoTunnel, parseGoTunnelLine } from "../../plugins/ws-agent/go_tunnel/messages.ts";
import { hasteOf, TestGateway, TOKENS } from "../plugins/ws-agent/harness.ts";
import { tlsConnection } from "../plugins/connection.ts";
import { GoTunnelClient } from "../support/go_tunnel_client.ts";
import { pipe } from "../support/pipe.ts";
import { fuzz, type Random, randomCuts } from "./fuzz.ts";

const NEVER = new AbortController().signal;
/** Room for more than one, and less than many inputs have. */
const MAX_LINE_BYTES = 200;
const LINES = [
  { type: "register", token: TOKENS.alice, routes: { "app.example.com": "127.0.0.1:80" }, modes: {} },
  {
    type: "register",
    token: "x",
    routes: { "A.example.com": "x", "a.example.com": "y" },
    modes: { x: "tcp" },
  },
  { type: "pong", ts: 1_700_000_000_000 },
  { type: "ping", ts: 0 },
].map((line) => `${JSON.stringify(line)}\n`);

function seeds(): Uint8Array[] {
  return [...LINES, LINES.join("")].map((text) => new TextEncoder().encode(text));
}

/** A stream that brings `input`, cut anywhere. */
function cutUp(input: Uint8Array, random: Random): { read(into: Uint8Array): Promise<number | null> } {
  const cuts = [...randomCuts(random, input), input.length];
  let at = 0;
  return {
    read(into) {
      const end = cuts.find((cut) => cut > at);
      if (end === undefined) return Promise.resolve(null);
      const part = input.subarray(at, Math.min(end, at + into.length));
      into.set(part);
      at += part.length;
      return Promise.resolve(part.length);
    },
  };
}

/** What comes is what stands between line feeds, up to a line that is too long or not ended. */
async function checkLines(input: Uint8Array, random: Random): Promise<void> {
  const latin = new TextDecoder("latin1");
  const expected = latin.decode(input).split("\n");
  const rest = expected.pop() ?? "";
  const tooLong = [...expected, rest].findIndex((line) => line.length > MAX_LINE_BYTES);
  const reader = new LineReader(cutUp(input, random), MAX_LINE_BYTES);
  const seen: string[] = [];
  const fault = await (async () => {
    for (let line; (line = await reader.read()) !== null;) seen.push(latin.decode(line));
  })().catch((error) => error);
  if (tooLong >= 0) assert.equal(fault?.code, "too_long");
  else assert.equal(fault?.code, rest === "" ? undefined : "truncated");
  assert.deepEqual(seen, tooLong >= 0 ? expected.slice(0, tooLong) : expected);
}

function checkMessage(input: Uint8Array): void {
  let message: FromGoTunnel;
  try {
    message = parseGoTunnelLine(input);
  } catch (error) {
    assert.ok(error instanceof ControlFault, String(error));
    return;
  }
  if (message.type !== "register") return;
  assert.equal(typeof message.token, "string");
  for (const { host, target, mode } of message.routes) {
    assert.equal(`${typeof host} ${typeof target}`, "string string");
    assert.ok(mode === "http" || mode === "tcp");
  }
}

/** Whatever such an agent says, the gateway answers or ends it, and nothing of it stays. */
async function checkAgent(input: Uint8Array, random: Random): Promise<void> {
  await using gateway = new TestGateway({
    section: { limits: { failedAuthPerMinute: 0, servicesPerTunnel: 3 }, reconnectGrace: 0 },
    clock: hasteOf(100),
  });
  const [near, far] = pipe();
  const served = gateway.plugin.handle(far, tlsConnection("app.example.com"), { signal: NEVER });
  await using agent = new GoTunnelClient(near);
  const all = random.below(4) > 0 ? Uint8Array.of(...new TextEncoder().encode(LINES[0]), ...input) : input;
  await agent.sendBytes(all).catch(() => {}); // it may have been closed by now
  await agent.control.closeWrite().catch(() => {});
  await agent.yamux.ended;
  for (const { type } of agent.received) {
    assert.ok(["ack", "ping", "pong"].includes(String(type)), String(type));
  }
  await served;
  assert.equal(gateway.events.some(({ level }) => level === "error"), false, JSON.stringify(gateway.events));
  assert.deepEqual(gateway.plugin.tunnels(), []);
  assert.deepEqual(gateway.plugin.routes(), []);
}

fuzz("lines of a go-tunnel agent", seeds, checkLines);
fuzz("messages of a go-tunnel agent", seeds, checkMessage);
fuzz("a go-tunnel agent", seeds, checkAgent, 30);
