import assert from "node:assert/strict";
import {
  BodyReader,
  ByteReader,
  HeadWriter,
  hopByHopAnd,
  LAST_CHUNK,
  RequestHead,
  ResponseHead,
} from "../../core/http1/mod.ts";
import { readRequests, streamOf, textOf } from "../core/http1/read_all.ts";
import { parseWithNode } from "../support/node_http.ts";
import { hasProgram } from "../support/permissions.ts";
import { latin1, SMUGGLING } from "../support/smuggling.ts";
import { fuzz, Random, randomCuts, randomInput } from "./fuzz.ts";

/** Without those that only test how much is too much: they are slow, and hide what a change of one byte does. */
const REQUESTS = SMUGGLING.map(({ bytes }) => bytes).filter((bytes) => bytes.length < 1000);

const RESPONSES = [
  "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: keep-alive\r\n\r\nhello",
  "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X\r\n\r\n5\r\nhello\r\n0\r\nX: 1\r\n\r\n",
  "HTTP/1.0 404 Not Found\r\nSet-Cookie: a=b\r\n\r\nhello",
  "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n",
  "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
  "HTTP/1.1 304\r\nContent-Length: 5\r\n\r\n",
].map(latin1);

const DROP = hopByHopAnd(["x-forwarded-for"]);

function cutAt(input: Uint8Array, cuts: readonly number[]): Uint8Array[] {
  return [0, ...cuts].map((cut, i) => input.subarray(cut, cuts[i]));
}

/** What a proxy would send on of the requests in `input`, up to the first that is refused or not all there. */
async function forwarded(input: Uint8Array): Promise<Uint8Array> {
  const reader = new ByteReader(streamOf([input]));
  const head = new RequestHead();
  const body = new BodyReader(reader);
  const out: number[] = [];
  for (let keepAlive = true; keepAlive && await parseNext(reader, head);) {
    keepAlive = head.keepAlive;
    const one = await rewritten(reader, head, body);
    if (one === undefined) break;
    out.push(...one);
  }
  reader.release();
  return Uint8Array.from(out);
}

async function parseNext(reader: ByteReader, head: RequestHead): Promise<boolean> {
  let result = head.parse(reader.bytes);
  while (result === "more" && await reader.fill()) result = head.parse(reader.bytes);
  return result === "done";
}

async function rewritten(
  reader: ByteReader,
  head: RequestHead,
  body: BodyReader,
): Promise<number[] | undefined> {
  const writer = new HeadWriter().requestLineOf(head).fieldsOf(head.fields, DROP);
  if (head.body === "chunked") writer.field("Transfer-Encoding", "chunked");
  else if (head.contentLength >= 0) writer.field("Content-Length", head.contentLength);
  const out = [...writer.end().bytes()];
  const chunked = head.body === "chunked";
  reader.consume(head.length);
  body.start(head.body, head.contentLength);
  let found = await body.read();
  for (; found instanceof Uint8Array; found = await body.read()) {
    out.push(...(chunked ? body.asChunk(found) : found));
  }
  if (found !== "end") return undefined;
  if (chunked) {
    out.push(...(body.trailers === undefined ? LAST_CHUNK : writer.clear().lastChunk(body.trailers).bytes()));
  }
  writer.release();
  return out;
}

fuzz("HTTP/1.1 requests, cut anywhere", () => REQUESTS, async (input, random) => {
  const whole = await readRequests([input]);
  assert.deepEqual(await readRequests(cutAt(input, randomCuts(random, input))), whole);
});

fuzz("HTTP/1.1 requests, as they are sent on", () => REQUESTS, async (input) => {
  const { requests } = await readRequests([input]);
  assert.deepEqual(await readRequests([await forwarded(input)]), { requests });
});

fuzz("HTTP/1.1 responses, cut anywhere", () => RESPONSES, (input, random) => {
  const method = random.pick(["GET", "HEAD"]);
  const [whole, parts] = [new ResponseHead(), new ResponseHead()];
  const expected = whole.parse(input, method);
  let result = parts.parse(input.subarray(0, 0), method);
  for (const cut of [...randomCuts(random, input), input.length]) {
    if (result === "more") result = parts.parse(input.subarray(0, cut), method);
  }
  assert.equal(result, expected);
  if (expected !== "done") return;
  assert.equal(parts.length, whole.length);
  assert.doesNotMatch(textOf(input.subarray(0, whole.length)), /[^\r]\n|\r[^\n]|\0/);
  assert.equal(parts.body, whole.body);
  assert.equal(parts.keepAlive, whole.keepAlive);
  if (whole.status < 200 || whole.status === 204 || whole.status === 304) assert.equal(whole.body, "none");
});

/** Pieces that change what a request means, or whether it is one. */
const PIECES = [
  ..."\r\n|\n|\r| |\t|:|;|,|\0|0|5|a|\r\n\r\n|0\r\n\r\n|5\r\nhello\r\n|;a=b|chunked|Host: a\r\n".split("|"),
  ..."Content-Length: 5\r\n|Transfer-Encoding: chunked\r\n|Connection: close\r\n|X: y\r\n|HTTP/1.0|HTTP/1.1"
    .split("|"),
  "GET /hidden HTTP/1.1\r\nHost: demo.localhost\r\n\r\n",
].map(latin1);

/** Something that is accepted as a rule, with a few pieces put in or out. */
function nearlyGood(random: Random, good: readonly Uint8Array[]): Uint8Array {
  let input = random.pick(good);
  for (let left = random.below(3); left > 0; left--) {
    const at = random.below(input.length + 1);
    const piece = random.below(4) === 0 ? latin1("") : random.pick(PIECES);
    input = Uint8Array.of(...input.subarray(0, at), ...piece, ...input.subarray(at + random.below(3)));
  }
  return input;
}

/** Node knows a list of methods; every other token is fine here. */
const STRICTER_IN_NODE = new Set(["HPE_INVALID_METHOD"]);

Deno.test({
  name: "fuzz: Node frames what is accepted here, and what is sent on of it, in the same way",
  ignore: !hasProgram("node"),
  async fn() {
    const seed = Math.floor(Math.random() * 2 ** 32);
    const random = new Random(seed);
    const inputs: Uint8Array[] = [...REQUESTS];
    const good = SMUGGLING.filter((sample) => sample.refused === undefined).map(({ bytes }) => bytes)
      .filter((bytes) => bytes.length < 1000);
    while (inputs.length < 3000) inputs.push(randomInput(random, good));
    while (inputs.length < 8000) inputs.push(nearlyGood(random, good));
    const readings = await Promise.all(inputs.map((input) => readRequests([input])));
    const sent = await Promise.all(inputs.map(forwarded));
    const raw = await parseWithNode(inputs.map(textOf));
    const nodes = await parseWithNode(sent.map(textOf));
    let compared = 0;
    for (const [i, { requests }] of readings.entries()) {
      const note = `seed ${seed}, input ${JSON.stringify(textOf(inputs[i] ?? latin1("")))}`;
      const node = nodes[i];
      assert(node !== undefined);
      if (node.error === undefined) assert.deepEqual(node.requests, requests, note);
      else assert(STRICTER_IN_NODE.has(node.error), `${node.error}: ${note}`);
      // As it came it may have an absolute form, and an Upgrade that ends HTTP for Node.
      const bodies = raw[i]?.requests.map(({ body }) => body).slice(0, requests.length);
      const comparable = raw[i]?.error === undefined && !/upgrade/i.test(note);
      if (comparable) assert.deepEqual(bodies, requests.map(({ body }) => body), note);
      compared += requests.length;
    }
    assert(compared > 1000, `${compared}`);
  },
});
