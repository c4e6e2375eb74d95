import assert from "node:assert/strict";
import { httpHandler } from "../../plugins/ws-agent/agent/in_process/http_handler.ts";
import { ScriptedStream, segmentsOf } from "../core/data_plane/preface/scripted_stream.ts";
import { fuzz, randomCuts } from "./fuzz.ts";

const REQUESTS = [
  "GET /a?b HTTP/1.1\r\nHost: a.example.com\r\n\r\nGET /c HTTP/1.1\r\nHost: a.example.com\r\nConnection: close\r\n\r\n",
  "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\nabcHEAD / HTTP/1.0\r\nHost: a\r\n\r\n",
  "PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n0\r\nX: y\r\n\r\n",
].map((text) => new TextEncoder().encode(text));
const CONNECTION = {
  id: "c-1",
  service: "app",
  protocol: "http",
  client: { address: "203.0.113.9", port: 1 },
  destination: { address: "203.0.113.1", port: 443 },
  signal: new AbortController().signal,
} as const;
/** A conversation of several messages, and web streams for each. */
const COST = 20;

/** All that is answered but for the time, and whether the connection was ended properly. */
async function converse(pieces: Uint8Array[], reads: boolean): Promise<string> {
  const stream = new ScriptedStream(pieces);
  const handler = httpHandler(async (request) => {
    const body = reads ? await request.text().catch(() => "broken") : "";
    return new Response(`${request.method} ${new URL(request.url).pathname} ${body.length}`, {
      headers: { date: "-" },
    });
  });
  const failed = (error: unknown) => assert.fail(`No handler fails here: ${error}`);
  const end = await handler.serve(stream, CONNECTION, failed).then(() => "ended", () => "reset");
  const answered = new TextDecoder().decode(Uint8Array.from(stream.written));
  return answered.replaceAll(/^Date: .*$/gm, "Date: -") + end;
}

fuzz("requests for a handler", () => REQUESTS, async (input, random) => {
  const reads = random.below(2) === 1;
  const whole = await converse([input], reads);
  assert.match(whole, /^(?:HTTP\/1\.1 \d{3} |ended$|reset$)/);
  assert.equal(await converse(segmentsOf(input, randomCuts(random, input)), reads), whole);
}, COST);
