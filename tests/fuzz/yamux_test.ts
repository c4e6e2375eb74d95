import assert from "node:assert/strict";
import { openYamux, type YamuxStream } from "../../plugins/ws-agent/yamux/mod.ts";
import { emptyHeader, HEADER_BYTES, parseHeader, writeHeader } from "../../plugins/ws-agent/yamux/frame.ts";
import { frame, joined, pattern, settled } from "../plugins/ws-agent/yamux/raw_peer.ts";
import { pipe } from "../support/pipe.ts";
import { fuzz, type Random, randomCuts } from "./fuzz.ts";

const MOST_STREAMS = 3;
const MOST_BUFFERED = 4096;
const [DATA, WINDOW, PING, GO_AWAY] = [0, 1, 2, 3];
const [SYN, ACK, FIN, RST] = [1, 2, 4, 8];

const SEEDS = [
  [frame(WINDOW, SYN, 1, 0), frame(DATA, 0, 1, 0, pattern(20)), frame(WINDOW, FIN, 1, 0)],
  [
    frame(WINDOW, SYN, 1, 0),
    frame(WINDOW, SYN, 3, 9),
    frame(DATA, FIN, 3, 0, pattern(5)),
    frame(WINDOW, RST, 1, 0),
  ],
  [frame(DATA, SYN | FIN, 1, 0, pattern(30)), frame(PING, SYN, 0, 7), frame(DATA, 0, 1, 0)],
  [
    frame(WINDOW, ACK, 2, 1000),
    frame(DATA, 0, 2, 0, pattern(50)),
    frame(WINDOW, FIN, 2, 0),
    frame(PING, ACK, 0, 1),
  ],
  [frame(GO_AWAY, 0, 0, 0), frame(WINDOW, SYN, 5, 0), frame(DATA, 0, 5, 0, pattern(300))],
  [1, 3, 5, 7, 9].map((id) => frame(DATA, SYN, id, 0, pattern(100))),
].map(joined);

/** Uses a stream as somebody would who is not careful. Failures that a peer can cause are part of life. */
async function use(stream: YamuxStream, random: Random): Promise<void> {
  try {
    for (let steps = random.below(6); steps > 0; steps--) {
      const into = new Uint8Array(1 + random.below(100));
      if (random.below(3) === 0) await stream.write(into);
      else if (await stream.read(into) === null) break;
    }
    if (random.below(2) === 0) await stream.closeWrite();
    if (random.below(2) === 0) stream.close();
    else stream.reset();
  } catch (error) {
    assert.ok(error instanceof Deno.errors.ConnectionReset || error instanceof Deno.errors.BrokenPipe);
  }
}

/** How much longer than a parser a whole session takes. */
const COST = 20;

fuzz("yamux sessions", () => SEEDS, async (input, random) => {
  const [ours, theirs] = pipe({ carry: () => 1 + random.below(200) });
  const users: Promise<void>[] = [];
  const session = openYamux(ours, {
    role: "server",
    maxStreams: MOST_STREAMS,
    maxBufferedBytes: MOST_BUFFERED,
    pingIntervalMs: 0,
    onStream: (stream) => users.push(use(stream, random)),
  });
  users.push(use(session.open(), random));
  let answered = 0;
  const dropping = (async () => {
    const into = new Uint8Array(4096);
    for (let n; (n = await theirs.read(into).catch(() => null)) !== null;) answered += n;
  })();
  let from = 0;
  for (const cut of [...randomCuts(random, input), input.length]) {
    for (let rest = input.subarray(from, cut); rest.length > 0;) {
      const sent = await theirs.write(rest).catch(() => undefined);
      if (sent === undefined) break;
      rest = rest.subarray(sent);
    }
    from = cut;
    if (random.below(4) === 0) await settled();
    assert.ok(session.streams <= MOST_STREAMS + 1);
  }
  await theirs.closeWrite().catch(() => {});
  if (random.below(2) === 0) session.close();
  await session.ended;
  await Promise.all(users);
  theirs.close();
  await dropping;
  assert.equal(session.streams, 0);
  assert.ok(session.bytesRead <= input.length);
  assert.ok(answered <= 4096 + 8 * input.length, `${answered} bytes in answer to ${input.length}`);
}, COST);

fuzz("yamux headers", () => SEEDS, (input) => {
  const header = emptyHeader();
  for (let at = 0; at <= input.length; at++) {
    const parsed = parseHeader(input, at, input.length, header);
    assert.equal(parsed === "more", input.length - at < HEADER_BYTES);
    if (parsed !== "yes") continue;
    const bytes = new Uint8Array(HEADER_BYTES);
    writeHeader(bytes, 0, header.type, header.flags, header.streamId, header.length);
    assert.deepEqual(bytes, input.slice(at, at + HEADER_BYTES));
  }
});
