/** What strangers do to the endpoint of agents: attacks on the WebSocket, and dripping; those who are in do not notice. */
import assert from "node:assert/strict";
import { closeQuietly, writeAll } from "../../core/byte_stream.ts";
import { can } from "../e2e/can.ts";
import { frame, joined, masked } from "../plugins/ws-agent/websocket/frames.ts";
import { readToEnd } from "../support/echo.ts";
import { HttpClient } from "../support/http_client.ts";
import { respond, TestAgent } from "../support/test_agent.ts";
import { DOMAIN, ENDPOINT, Tunnels } from "../support/tunnels.ts";

const ignore = !can();
const AUTH_TIMEOUT_MS = 10_000;
/** What a busy machine may take on top. */
const SLACK_MS = 3000;
/** Faster than any timeout that a single byte would start anew. */
const DRIP_MS = 250;
const PING = 0x9, TEXT = 0x1, CONTINUATION = 0x0;

const UPGRADE = [
  "GET /tunnel/v1 HTTP/1.1",
  `Host: ${ENDPOINT}`,
  "Connection: Upgrade",
  "Upgrade: websocket",
  "Sec-WebSocket-Version: 13",
  "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
  "Sec-WebSocket-Protocol: postern.v1",
  "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits",
  "",
  "",
].join("\r\n");

/** A head that says 16 MiB and a byte follow. */
const TOO_LONG = Uint8Array.of(0x82, 0xff, 0, 0, 0, 0, 1, 0, 0, 1, 1, 2, 3, 4);

const attacks: readonly { readonly name: string; readonly bytes: Uint8Array }[] = [
  { name: "a compressed frame", bytes: masked("x", { reserved: 0x40 }) },
  { name: "a frame without a mask", bytes: frame("x") },
  { name: "a text frame", bytes: masked("x", { opcode: TEXT }) },
  { name: "a frame of an opcode that nobody knows", bytes: masked("x", { opcode: 0x3 }) },
  { name: "a frame over the cap", bytes: TOO_LONG },
  { name: "a continuation of nothing", bytes: masked("x", { opcode: CONTINUATION }) },
  { name: "a ping in fragments", bytes: masked("x", { opcode: PING, fin: false }) },
  { name: "a ping over 125 bytes", bytes: masked("x".repeat(126), { opcode: PING }) },
  {
    name: "pings without end",
    bytes: joined(...Array.from({ length: 2000 }, () => masked("", { opcode: PING }))),
  },
  { name: "empty frames without end", bytes: joined(...Array.from({ length: 2000 }, () => masked(""))) },
  { name: "bytes that are no yamux", bytes: masked(new Uint8Array(64).fill(0xff)) },
  {
    name: "a yamux frame over the window",
    bytes: masked(Uint8Array.of(0, 0, 0, 1, 0, 0, 0, 1, 0x7f, 0xff, 0xff, 0xff)),
  },
  { name: "a WebSocket goodbye", bytes: masked("", { opcode: 0x8 }) },
];

async function startGood(tunnels: Tunnels): Promise<TestAgent> {
  const agent = await TestAgent.start(await tunnels.connectHost(ENDPOINT), {
    host: ENDPOINT,
    token: tunnels.tokens.alice,
    serve: respond("good"),
  });
  await agent.serve({ name: "good", protocol: "http" });
  return agent;
}

async function ask(client: HttpClient): Promise<string> {
  return (await client.request()).text;
}

Deno.test({
  name:
    "WebSocket: no compression, caps on frames, control frames limited: each attack ends its own connection, and no other",
  ignore,
  async fn(t) {
    await using tunnels = await Tunnels.start();
    await using _ = await startGood(tunnels);
    using client = new HttpClient(await tunnels.connectTls("good"), `good.${DOMAIN}`);
    for (const { name, bytes } of attacks) {
      await t.step(`${name}, of a stranger`, async () => {
        const stream = await tunnels.connectHost(ENDPOINT);
        try {
          await writeAll(stream, new TextEncoder().encode(UPGRADE));
          await writeAll(stream, bytes).catch(() => {});
          const answer = new TextDecoder("latin1").decode(
            await readToEnd(stream).catch(() => new Uint8Array()),
          );
          assert.ok(!/sec-websocket-extensions/i.test(answer), "compression is not agreed on");
        } finally {
          closeQuietly(stream);
        }
        assert.equal(await ask(client), "good");
      });
      await t.step(`${name}, of an agent that is in`, async () => {
        await using bad = await TestAgent.start(await tunnels.connectHost(ENDPOINT), {
          host: ENDPOINT,
          token: tunnels.tokens.bob,
        });
        await writeAll(bad.transport, bytes).catch(() => {});
        await bad.ended;
        assert.equal(await ask(client), "good");
      });
    }
    await tunnels.settled(1);
    const { connections, plugins } = await tunnels.status();
    assert.deepEqual([connections.active, plugins[0]?.status.details?.["arriving"]], [2, 0]);
  },
});

Deno.test({
  name:
    "one absolute deadline: an agent that drips its upgrade, its frames or its Auth is cut off after 10 s",
  ignore,
  async fn() {
    await using tunnels = await Tunnels.start();
    await using _ = await startGood(tunnels);
    const [head, frames] = await Promise.all([tunnels.connectHost(ENDPOINT), tunnels.connectHost(ENDPOINT)]);
    await using auth = await TestAgent.connect(await tunnels.connectHost(ENDPOINT), { host: ENDPOINT });
    const begin = performance.now();
    await writeAll(frames, new TextEncoder().encode(UPGRADE));
    const bytes = new TextEncoder().encode(UPGRADE);
    // An Auth of which 60,000 bytes are to come, and the yamux frame that opens the stream for it.
    const auths = [1, 0, 0, 0xea, 0x72, 0xea, 0x60, ...new Uint8Array(100).fill(0x61)];
    const framed = [0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0x40, 0, ...auths];
    let at = 0;
    const drips = setInterval(() => {
      const nothing = () => {};
      head.write(bytes.subarray(at, at + 1)).catch(nothing);
      frames.write(masked(Uint8Array.of(framed[at] ?? 0))).catch(nothing);
      auth.sendBytes(Uint8Array.of(auths[at] ?? 0)).catch(nothing);
      at++;
    }, DRIP_MS);
    try {
      const ends = await Promise.all(
        [head, frames].map((stream) => readToEnd(stream).catch(() => {}))
          .concat(auth.ended.then(() => {})).map((end) => end.then(() => performance.now() - begin)),
      );
      for (const ms of ends) {
        assert.ok(
          ms > AUTH_TIMEOUT_MS - SLACK_MS && ms < AUTH_TIMEOUT_MS + SLACK_MS,
          `cut off after ${ends} ms`,
        );
      }
    } finally {
      clearInterval(drips);
      closeQuietly(head);
      closeQuietly(frames);
    }
    using client = new HttpClient(await tunnels.connectTls("good"), `good.${DOMAIN}`);
    assert.equal(await ask(client), "good");
  },
});
