import assert from "node:assert/strict";
import { IN_PROCESS } from "../../plugins/ws-agent/agent/target.ts";
import { viewBody } from "../../plugins/ws-agent/inspect/body_view.ts";
import { MAX_BODY_BYTES } from "../../plugins/ws-agent/inspect/captured_body.ts";
import { headersOf } from "../../plugins/ws-agent/inspect/exchange.ts";
import { ExchangeLog } from "../../plugins/ws-agent/inspect/exchange_log.ts";
import { ExchangeTap } from "../../plugins/ws-agent/inspect/exchange_tap.ts";
import { fuzz, randomCuts } from "./fuzz.ts";

const encode = (text: string) => new TextEncoder().encode(text);

/** A conversation: what the client says, and behind NUL what the service says. */
const SEEDS: readonly string[] = [
  "GET / HTTP/1.1\r\nHost: a\r\n\r\n\0HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
  "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc\0HTTP/1.1 204 No Content\r\n\r\n",
  "PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3;x\r\nabc\r\n0\r\nT: 1\r\n\r\n" +
  "\0HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
  "GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\nxyz" +
  "\0HTTP/1.1 101 Go\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\nabc",
  "GET /1 HTTP/1.1\r\nHost: a\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\n" +
  "\0HTTP/1.1 103 Wait\r\n\r\nHTTP/1.1 304 Not Modified\r\n\r\nHTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\nrest",
];

const ORIGIN = {
  service: { name: "demo", protocol: "http", target: IN_PROCESS, proxyProtocol: "off" },
  header: {
    source: { address: "203.0.113.9", port: 4711 },
    destination: { address: "198.51.100.1", port: 443 },
    connectionId: "c-1",
    serviceId: "00000000-0000-4000-8000-000000000001",
  },
} as const;

const LIMITS = { exchanges: 5, bytes: 32 * 1024 };

/** What is known in the end, when the bytes come in these pieces. */
function tap(input: Uint8Array, cuts: readonly number[]): ExchangeLog {
  const log = new ExchangeLog(LIMITS);
  const one = new ExchangeTap({ log, origin: ORIGIN, now: () => 0 });
  const middle = input.indexOf(0);
  const end = middle < 0 ? input.length : middle;
  for (const [from, to, look] of [[0, end, "request"], [end + 1, input.length, "response"]] as const) {
    const places = [from, ...cuts.filter((cut) => cut > from && cut < to), to];
    for (const [i, at] of places.slice(1).entries()) one[look](input.slice(places[i], at));
  }
  one.end();
  return log;
}

function describe(log: ExchangeLog): unknown[] {
  return log.list().map(({ time: _, origin: _origin, request, response, ...rest }) => ({
    ...rest,
    request: { ...request, body: request.body.bytes.toHex() },
    response: response && { ...response, body: response.body.bytes.toHex() },
  }));
}

fuzz(
  "the inspector's tap never throws, stays in its bounds, and sees the same however the bytes are cut",
  () => SEEDS.map(encode),
  (input, random) => {
    const whole = tap(input, []);
    for (const { request, response, state } of whole.list()) {
      assert.notEqual(state, "waiting");
      for (const body of [request.body, response?.body]) {
        if (body) assert.ok(body.bytes.length <= Math.min(body.total, MAX_BODY_BYTES));
      }
    }
    assert.ok(whole.list().length <= LIMITS.exchanges && whole.bytes <= LIMITS.bytes);
    assert.deepEqual(describe(tap(input, randomCuts(random, input))), describe(whole));
  },
);

fuzz(
  "any body can be looked at",
  () => SEEDS.map(encode),
  async (input, random) => {
    const log = new ExchangeLog();
    const one = new ExchangeTap({ log, origin: ORIGIN, now: () => 0 });
    const coding = random.pick(["gzip", "deflate", "br", "identity"]);
    one.request(
      encode(`POST / HTTP/1.1\r\nHost: a\r\nContent-Encoding: ${coding}\r\nContent-Length: 9999\r\n\r\n`),
    );
    one.request(input);
    for (const { request } of log.list()) await viewBody(headersOf(request), request.body);
  },
  20,
);
