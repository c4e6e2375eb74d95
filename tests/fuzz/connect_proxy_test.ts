import assert from "node:assert/strict";
import { GatewayError } from "../../core/errors.ts";
import { connectThrough } from "../../plugins/ws-agent/agent/proxy/connect_proxy.ts";
import { ScriptedStream, segmentsOf } from "../core/data_plane/preface/scripted_stream.ts";
import { fuzz, randomCuts } from "./fuzz.ts";

const ANSWERS = [
  "HTTP/1.1 200 OK\r\n\r\n",
  "HTTP/1.0 200 Connection established\r\nProxy-Agent: x\r\n\r\nbytes behind",
  "HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm=x\r\nContent-Length: 2\r\n\r\nno",
  `HTTP/1.1 200 OK\r\nX: ${"x".repeat(8200)}\r\n\r\n`,
].map((text) => new TextEncoder().encode(text));
const PROXY = { host: "proxy", port: 3128, credentials: { user: "u", password: "hunter22" } };
const TO = { host: "tunnel.example.com", port: 443 };
const NEVER = new AbortController().signal;

/** What became of an answer: the bytes behind it, or a fault that an operator can read. */
async function outcomeOf(pieces: Uint8Array[]): Promise<string> {
  try {
    const stream = new ScriptedStream(pieces);
    const rest = await connectThrough(stream, PROXY, TO, NEVER);
    const left = new Uint8Array(10_000);
    let text = rest.toHex();
    for (let n; (n = await stream.read(left)) !== null;) text += left.subarray(0, n).toHex();
    return text;
  } catch (error) {
    assert.ok(error instanceof GatewayError && error.code === "dial-failed", String(error));
    assert.match(error.message, /^The proxy at proxy:3128 /);
    assert.ok(!error.message.includes("hunter22"));
    return error.message;
  }
}

fuzz("a proxy's answer to CONNECT", () => ANSWERS, async (input, random) => {
  const whole = await outcomeOf([input]);
  assert.equal(await outcomeOf(segmentsOf(input, randomCuts(random, input))), whole);
});
