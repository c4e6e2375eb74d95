import assert from "node:assert/strict";
import { connect as connectNode, createServer, type Socket } from "node:net";
import { writeAll } from "../../core/byte_stream.ts";
import type { ClosedEvent } from "../../core/plugin/contract.ts";
import { LentBuffers } from "../core/data_plane/lent_buffers.ts";
import { readExactly } from "../core/data_plane/clients.ts";
import { Random } from "../fuzz/fuzz.ts";
import { serveTcp } from "../support/echo.ts";
import { TestPlane } from "../support/plane.ts";
import { until } from "../support/until.ts";

const RUNS = 25;
const HELLO = Uint8Array.of(1, 2, 3);

/** Byte `i` of what somebody sends: no short pattern, so that a gap or a repeat shows. */
function byteAt(i: number): number {
  return (i ^ i >>> 8 ^ i >>> 16) & 0xff;
}

const STREAM = Uint8Array.from({ length: 2_000_000 }, (_, i) => i < HELLO.length ? HELLO[i] ?? 0 : byteAt(i));

/** Reads until the end, of whatever kind, and checks that each byte is the one that was sent there. */
async function receivePrefix(from: Deno.Conn): Promise<number> {
  const buffer = new Uint8Array(65_536);
  let at = 0;
  try {
    for (let n; (n = await from.read(buffer)) !== null; at += n) {
      assert.deepEqual(buffer.subarray(0, n), STREAM.subarray(at, at + n), `bytes from ${at}`);
    }
  } catch (error) {
    if (!isDeath(error)) throw error;
  }
  return at;
}

function isDeath(error: unknown): boolean {
  return error instanceof Deno.errors.ConnectionReset || error instanceof Deno.errors.BrokenPipe ||
    error instanceof Deno.errors.Interrupted || error instanceof Deno.errors.BadResource;
}

/** Sends {@link STREAM} and dies after about `after` bytes of it: by a reset, or by closing. */
function dieAfter(socket: Socket, after: number, how: "reset" | "close"): void {
  socket.on("error", () => {});
  let sent = 0;
  const more = () => {
    while (sent < after) {
      const chunk = STREAM.subarray(sent, Math.min(after, sent + 30_000));
      sent += chunk.length;
      if (!socket.write(chunk)) return void socket.once("drain", more);
    }
    if (how === "reset") socket.resetAndDestroy();
    else socket.destroy();
  };
  more();
}

interface Watched extends AsyncDisposable {
  readonly gateway: TestPlane;
  readonly closed: ClosedEvent[];
}

function gatewayTo(target: string): Watched {
  const closed: ClosedEvent[] = [];
  const gateway = new TestPlane({
    plugins: [{ route: () => ({ kind: "forward", to: target }), closed: (event) => void closed.push(event) }],
  });
  return { gateway, closed, [Symbol.asyncDispose]: () => gateway[Symbol.asyncDispose]() };
}

/** A server of node sockets, which can be reset. */
async function serveNode(
  handler: (socket: Socket) => void,
): Promise<AsyncDisposable & { readonly target: string }> {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on("error", () => {});
    handler(socket);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  assert.ok(address !== null && typeof address === "object");
  return {
    target: `127.0.0.1:${address.port}`,
    async [Symbol.asyncDispose]() {
      sockets.forEach((socket) => socket.destroy());
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

for (const how of ["reset", "close"] as const) {
  Deno.test(`a client that dies in mid-flow (${how}): the upstream gets a prefix and an end, nothing is leaked`, async (t) => {
    using buffers = new LentBuffers();
    let heard = 0;
    let answers = false;
    await using upstream = serveTcp(async (conn) => {
      const sending = answers
        ? writeAll(conn, STREAM).catch((error) => assert.ok(isDeath(error)))
        : undefined;
      heard = await receivePrefix(conn);
      await sending;
    });
    await using watched = gatewayTo(upstream.target);
    for (let run = 0; run < RUNS; run++) {
      const seed = Math.floor(Math.random() * 2 ** 32);
      await t.step(`seed ${seed}`, async () => {
        const random = new Random(seed);
        const after = HELLO.length + random.below(2 ** (4 + random.below(17)));
        answers = random.below(2) === 0;
        const socket = connectNode(watched.gateway.port, "127.0.0.1", () => dieAfter(socket, after, how));
        await until(() => watched.closed.length === 1 || watched.gateway.counted("rejected_total") > 0, {
          what: "the end",
        });
        await until(() => upstream.open === 0, { what: "the upstream's side to end" });
        const event = watched.closed.pop();
        if (event === undefined) return; // it died before its first bytes were seen
        assert.ok(heard <= after);
        if (how === "close" && !answers) assert.equal(heard, after, "what was sent before a FIN arrives");
        assert.ok(
          event.bytesIn <= after && event.bytesIn >= heard,
          `${event.bytesIn} counted, ${heard} heard`,
        );
        assert.ok(event.result === "client_reset" || event.result === "ok", event.result);
      });
    }
    await until(() => watched.gateway.plane.size === 0, { what: "the gateway to be empty" });
    assert.equal(buffers.count(), 0);
  });

  Deno.test(`an upstream that dies in mid-flow (${how}): the client gets a prefix and an end, nothing is leaked`, async (t) => {
    using buffers = new LentBuffers();
    let after = 0;
    await using upstream = await serveNode((socket) =>
      socket.once("data", () => dieAfter(socket, after, how))
    );
    await using watched = gatewayTo(upstream.target);
    for (let run = 0; run < RUNS; run++) {
      const seed = Math.floor(Math.random() * 2 ** 32);
      await t.step(`seed ${seed}`, async () => {
        const random = new Random(seed);
        after = random.below(2 ** (4 + random.below(17)));
        using client = await watched.gateway.connect();
        await writeAll(client, HELLO);
        const sends = random.below(2) === 0;
        const sending = sends
          ? writeAll(client, STREAM).catch((error) => assert.ok(isDeath(error)))
          : undefined;
        const heard = await receivePrefix(client);
        client.close();
        await sending;
        await until(() => watched.closed.length === 1, { what: "the end" });
        const event = watched.closed.pop();
        assert.ok(heard <= after);
        if (how === "close" && !sends) assert.equal(heard, after, "what was sent before a FIN arrives");
        assert.ok(event && event.bytesOut <= after && event.bytesOut >= heard);
      });
    }
    assert.equal(buffers.count(), 0);
  });
}

Deno.test("a reset of an idle client ends the upstream's connection at once", async () => {
  await using upstream = serveTcp(async (conn) => void await receivePrefix(conn));
  await using watched = gatewayTo(upstream.target);
  const socket = connectNode(watched.gateway.port, "127.0.0.1", () => socket.write(HELLO));
  socket.on("error", () => {});
  await until(() => upstream.open === 1, { what: "the relay" });
  await until(() => watched.gateway.plane.rows(1)[0]?.state === "relaying", { what: "the relay" });
  socket.resetAndDestroy();
  await until(() => upstream.open === 0, { what: "the upstream's side to end" });
  await until(() => watched.closed.length === 1, { what: "the event" });
  assert.equal(watched.closed[0]?.result, "client_reset");
});

Deno.test("a reset of an idle upstream ends the client's connection at once", async () => {
  const sockets: Socket[] = [];
  await using upstream = await serveNode((socket) => {
    sockets.push(socket);
    socket.pipe(socket);
  });
  await using watched = gatewayTo(upstream.target);
  using client = await watched.gateway.connect();
  await writeAll(client, HELLO);
  assert.deepEqual(await readExactly(client, HELLO.length), HELLO);
  sockets[0]?.resetAndDestroy();
  assert.equal(await client.read(new Uint8Array(1)), null);
  await until(() => watched.closed.length === 1, { what: "the event" });
  assert.equal(watched.closed[0]?.result, "upstream_reset");
});
