import assert from "node:assert/strict";
import type { RequestEvent } from "../../../../plugins/ws-agent/http/mod.ts";
import { serveHttp } from "../../../../plugins/ws-agent/http/mod.ts";
import { closeQuietly, writeAll } from "../../../../core/byte_stream.ts";
import { Random, randomInput } from "../../../fuzz/fuzz.ts";
import { readToEnd } from "../../../support/echo.ts";
import { pipe, type PipeEnd } from "../../../support/pipe.ts";
import { latin1, SMUGGLING } from "../../../support/smuggling.ts";
import { connection } from "../../connection.ts";
import { HOSTNAME } from "./harness.ts";

const RUNS = 400;
const GET = `GET /a?b HTTP/1.1\r\nHost: ${HOSTNAME}\r\n\r\n`;
const POST =
  `POST /p HTTP/1.1\r\nHost: ${HOSTNAME}\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n`;
const UPGRADE = `GET / HTTP/1.1\r\nHost: ${HOSTNAME}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n`;
const OK = latin1("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
const H2_START = Uint8Array.of(
  ...latin1("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
  ...[0, 0, 0, 4, 0, 0, 0, 0, 0],
  ...[0, 0, 19, 1, 5, 0, 0, 0, 1, 0x82, 0x84, 0x86, 0x41, HOSTNAME.length, ...latin1(HOSTNAME)],
);

const RESPONSES = [
  "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
  "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX: y\r\n\r\n",
  "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 304 Not Modified\r\n\r\n",
  "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\nxyz",
  "HTTP/1.0 200\r\n\r\nuntil the end",
].map(latin1);

interface Run {
  readonly client: Uint8Array;
  readonly service: Uint8Array;
  readonly h2?: boolean;
  readonly random: Random;
}

/** Both sides say what they are given, read to the end and leave. */
async function play({ client, service, h2 = false, random }: Run) {
  const events: RequestEvent[] = [];
  const carry = () => 1 + random.below(random.below(4) === 0 ? 3 : 4096);
  const opened: PipeEnd[] = [];
  const served: Promise<unknown>[] = [];
  const backend = {
    hostname: HOSTNAME,
    open() {
      const [near, far] = pipe({ carry });
      opened.push(near);
      served.push(speak(far, service, opened.length < 4));
      return Promise.resolve(near);
    },
  };
  const [near, far] = pipe({ carry });
  const info = h2 ? { terminated: { version: "TLSv1.3", alpn: "h2" } } : {};
  const options = {
    signal: new AbortController().signal,
    events: (event: RequestEvent) => void events.push(event),
    timeouts: { lingerMs: 200, responseMs: 5000, bodyMs: 5000 },
  };
  const proxied = serveHttp(near, connection(info), backend, options);
  const answer = await speak(far, client, true);
  await proxied;
  await Promise.all(served);
  assert(near.closed, "the client's stream is closed");
  assert(opened.every(({ closed }) => closed), "every stream to the service is closed");
  return { answer: new TextDecoder().decode(answer), events };
}

async function speak(peer: PipeEnd, words: Uint8Array, isToEnd: boolean): Promise<Uint8Array> {
  try {
    const saying = writeAll(peer, words).then(() => isToEnd ? peer.closeWrite() : undefined).catch(() => {});
    const heard = await readToEnd(peer).catch(() => new Uint8Array());
    await saying;
    return heard;
  } finally {
    closeQuietly(peer);
  }
}

function fuzz(name: string, check: (random: Random) => Promise<void>): void {
  Deno.test(`fuzz: ${name}, ${RUNS} runs`, async () => {
    const seed = Math.floor(Math.random() * 2 ** 32);
    for (let run = 0; run < RUNS; run++) {
      // A seed for each run: what the runs before did in what order does not matter then.
      await check(new Random(seed + run)).catch((cause) => {
        throw new Error(`seed ${seed + run}`, { cause });
      });
    }
  });
}

/** How many final answers there are, as far as a client can tell that reads heads alone. */
const answersIn = (text: string) => [...text.matchAll(/HTTP\/1\.1 (?!1\d\d)\d\d\d /g)].length;

fuzz("a client that sends anything gets at most one answer a request, and is let go", async (random) => {
  const seeds = [GET, POST, UPGRADE, GET + POST + GET].map(latin1);
  const client = randomInput(random, [...seeds, ...SMUGGLING.map(({ bytes }) => bytes)]);
  const { answer, events } = await play({ client, service: OK, random });
  assert(answersIn(answer) <= events.length, answer);
});

fuzz("a service that sends anything never makes two answers, nor the client wait", async (random) => {
  const service = randomInput(random, RESPONSES);
  const request = random.pick([GET, POST, UPGRADE]);
  const { answer, events } = await play({ client: latin1(request), service, random });
  assert.equal(events.length, 1);
  // What an upgraded service says is its own affair.
  if (events[0]?.status !== 101) assert(answersIn(answer.split("\r\n\r\n")[0] ?? "") <= 1, answer);
});

fuzz("a client of HTTP/2 that sends anything is let go", async (random) => {
  const client = randomInput(random, [H2_START]);
  const h2 = client.length > 24 && random.below(4) > 0
    ? Uint8Array.of(...H2_START.subarray(0, 33), ...client.subarray(33))
    : client;
  await play({ client: h2, service: random.pick(RESPONSES), h2: true, random });
});
