import assert from "node:assert/strict";
import { type ByteStream, writeAll } from "../../../../core/byte_stream.ts";
import { WebSocketFault } from "../../../../plugins/ws-agent/websocket/closing.ts";
import type { WebSocketRole } from "../../../../plugins/ws-agent/websocket/frame.ts";
import { isFramedWriter } from "../../../../plugins/ws-agent/websocket/framed_writer.ts";
import { WebSocketBytes } from "../../../../plugins/ws-agent/websocket/web_socket_bytes.ts";
import { pipe, type PipeEnd } from "../../../support/pipe.ts";
import { until } from "../../../support/until.ts";
import { frame, joined, masked, numbered, readExactly, readFrames } from "./frames.ts";

const ROLES: readonly WebSocketRole[] = ["client", "server"];

/** A client and a server, connected. */
function connected(carry?: () => number): [client: WebSocketBytes, server: WebSocketBytes] {
  const [near, far] = pipe(carry === undefined ? {} : { carry });
  return [new WebSocketBytes(near, { role: "client" }), new WebSocketBytes(far, { role: "server" })];
}

/** One end, and the bare stream that its peer has. */
function against(role: WebSocketRole, capacity?: number): [socket: WebSocketBytes, peer: PipeEnd] {
  const [near, far] = pipe(capacity === undefined ? {} : { capacity });
  return [new WebSocketBytes(near, { role }), far];
}

/** A stream that notes what each write held. */
function recording(): { stream: ByteStream; writes: Uint8Array[] } {
  const writes: Uint8Array[] = [];
  const stream: ByteStream = {
    read: () => Promise.resolve(null),
    write(data) {
      writes.push(data.slice());
      return Promise.resolve(data.length);
    },
    closeWrite: () => Promise.resolve(),
    close() {},
  };
  return { stream, writes };
}

/** As the other role sends it. */
const toward = (role: WebSocketRole) => role === "server" ? masked : frame;

async function waiting(peer: PipeEnd, bytes: number): Promise<Uint8Array> {
  await until(() => peer.waiting >= bytes, { what: `${bytes} bytes` });
  return await readExactly(peer, peer.waiting);
}

for (const carried of [1, 2, 3, 7, 13, 1000, Infinity]) {
  Deno.test(`WebSocketBytes carries bytes both ways, ${carried} at a time`, async () => {
    const [client, server] = connected(() => carried);
    const data = numbered(carried < 10 ? 3000 : 200_000);
    for (const [from, to] of [[client, server], [server, client]] as const) {
      const [received] = await Promise.all([readExactly(to, data.length), writeAll(from, data)]);
      assert.deepEqual(received, data);
    }
    client.close();
    server.close();
  });
}

for (const size of [1, 2, 5, 14, 100, 4096]) {
  Deno.test(`WebSocketBytes reads into ${size} bytes at a time`, async () => {
    const [socket, peer] = against("server");
    await writeAll(
      peer,
      joined(masked("abc"), masked("", { opcode: 9 }), masked(numbered(300)), masked("d")),
    );
    const all: number[] = [];
    const into = new Uint8Array(size);
    while (all.length < 304) all.push(...into.subarray(0, await socket.read(into) ?? 0));
    assert.deepEqual(
      Uint8Array.from(all),
      joined(new TextEncoder().encode("abc"), numbered(300), new TextEncoder().encode("d")),
    );
    socket.close();
  });
}

Deno.test("WebSocketBytes gives the bytes read behind the handshake first", async () => {
  const [near, far] = pipe();
  await writeAll(far, frame("second"));
  const socket = new WebSocketBytes(near, { role: "client", replay: frame("first ") });
  assert.equal(new TextDecoder().decode(await readExactly(socket, 12)), "first second");
  socket.close();
});

for (const role of ROLES) {
  for (const length of [1, 125, 126, 2048, 2049, 16_384, 65_535, 65_536, 262_144]) {
    Deno.test(`a ${role}'s write of ${length} bytes is one frame and one write`, async () => {
      const { stream, writes } = recording();
      const socket = new WebSocketBytes(stream, { role });
      const data = numbered(length), before = data.slice();
      assert.equal(await socket.write(data), length);
      assert.deepEqual(data, before, "what is written is only read");
      assert.equal(writes.length, 1);
      assert.deepEqual(readFrames(role === "client" ? "server" : "client", writes).payload, data);
    });
  }

  for (const length of [1, 125, 126, 65_535, 65_536, 1024 * 1024]) {
    Deno.test(`a ${role}'s write in place of ${length} bytes is one frame and one write`, async () => {
      const { stream, writes } = recording();
      const socket = new WebSocketBytes(stream, { role });
      assert.ok(isFramedWriter(socket));
      const start = socket.headroom + 3;
      const buffer = joined(new Uint8Array(start), numbered(length), [1, 2, 3]);
      await socket.writeInPlace(buffer, start, start + length);
      assert.equal(writes.length, 1);
      assert.deepEqual(readFrames(role === "client" ? "server" : "client", writes).payload, numbered(length));
      assert.deepEqual([...buffer.subarray(0, 3), ...buffer.subarray(-3)], [0, 0, 0, 1, 2, 3]);
    });
  }
}

Deno.test("writeInPlace() refuses a range without headroom, empty, outside or too long", async () => {
  const [socket] = against("client");
  const buffer = new Uint8Array(socket.maxInPlaceBytes + 100);
  for (
    const [start, end] of [[13, 20], [20, 20], [20, 19], [14, buffer.length + 1], [14, buffer.length], [
      14,
      NaN,
    ]]
  ) {
    await assert.rejects(socket.writeInPlace(buffer, start ?? 0, end ?? 0), RangeError, `${start} to ${end}`);
  }
  socket.close();
});

Deno.test("a client masks each frame with another key", async () => {
  const { stream, writes } = recording();
  const socket = new WebSocketBytes(stream, { role: "client" });
  for (let i = 0; i < 200; i++) await socket.write(Uint8Array.of(1));
  assert.equal(new Set(writes.map((bytes) => bytes.subarray(2, 6).toHex())).size, 200);
});

Deno.test("a write of more than 256 KiB sends a prefix, and writeAll() sends it all", async () => {
  const { stream, writes } = recording();
  const socket = new WebSocketBytes(stream, { role: "server" });
  const data = numbered(600_000);
  assert.equal(await socket.write(data), 262_144);
  await writeAll(socket, data.subarray(262_144));
  assert.equal(writes.length, 3);
  assert.deepEqual(readFrames("client", writes).payload, data);
});

for (const role of ROLES) {
  Deno.test(`a ${role} answers a ping with its payload`, async () => {
    const [socket, peer] = against(role);
    await writeAll(peer, joined(toward(role)("are you there", { opcode: 9 }), toward(role)("x")));
    await readExactly(socket, 1);
    const answer = await waiting(peer, role === "client" ? 19 : 15);
    const plain = readFrames(role === "client" ? "server" : "client", [answer]);
    assert.equal(answer[0], 0x8a);
    assert.equal(plain.fault, undefined);
    if (role === "server") assert.equal(new TextDecoder().decode(answer.subarray(2)), "are you there");
    socket.close();
  });
}

Deno.test("a pong waits for the write before it, goes before the next, and answers the last ping", async () => {
  const [socket, peer] = against("server", 1000);
  const first = socket.write(numbered(5000)); // more than the peer takes at once
  await writeAll(peer, joined(masked("1", { opcode: 9 }), masked("2", { opcode: 9 }), masked("x")));
  await readExactly(socket, 1);
  const second = socket.write(Uint8Array.of(7));
  const all = await readExactly(peer, 4 + 5000 + 3 + 3);
  assert.deepEqual(all.subarray(4, 5004), numbered(5000));
  assert.equal(all.subarray(5004).toHex(), "8a0132" + "820107");
  assert.deepEqual(await Promise.all([first, second]), [5000, 1]);
  socket.close();
});

Deno.test("closeWrite() and close frames make an end as FIN does", async () => {
  const [client, server] = connected();
  await client.write(numbered(10));
  await client.closeWrite();
  await client.closeWrite();
  assert.deepEqual(await readExactly(server, 10), numbered(10));
  assert.equal(await server.read(new Uint8Array(9)), null);
  assert.equal(await server.read(new Uint8Array(9)), null);
  assert.deepEqual(server.peerClose, { code: 1000, reason: "" });
  await server.write(numbered(20)); // an answer behind the client's end
  assert.deepEqual(await readExactly(client, 20), numbered(20));
  await assert.rejects(client.write(numbered(1)), Deno.errors.BrokenPipe);
  await server.closeWrite();
  assert.equal(await client.read(new Uint8Array(9)), null);
  client.close();
  server.close();
});

for (
  const [what, close, echo] of [
    ["1000", "03e8", "880203e8"],
    ["1001 and a reason", "03e9" + "627965", "880203e9"],
    ["no code", "", "8800"],
  ] as const
) {
  Deno.test(`a close with ${what} is a normal end, and its code is echoed without the reason`, async () => {
    const [socket, peer] = against("server");
    await writeAll(peer, masked(Uint8Array.fromHex(close), { opcode: 8 }));
    assert.equal(await socket.read(new Uint8Array(9)), null);
    await socket.closeWrite();
    socket.close();
    assert.equal((await waiting(peer, echo.length / 2)).toHex(), echo);
  });
}

Deno.test("a close with another code is a fault, and is echoed", async () => {
  const [socket, peer] = against("client");
  await writeAll(
    peer,
    joined(
      frame("x"),
      frame(joined([0x03, 0xf0], new TextEncoder().encode("too\x1b[2Jfast")), { opcode: 8 }),
    ),
  );
  await readExactly(socket, 1);
  for (let i = 0; i < 2; i++) {
    await assert.rejects(socket.read(new Uint8Array(9)), (error) => {
      assert.ok(error instanceof WebSocketFault && error.byPeer);
      assert.equal(error.code, 1008);
      assert.equal(error.message, "Peer closed with 1008: too?[2Jfast");
      return true;
    });
  }
  const echo = await waiting(peer, 8);
  assert.deepEqual(readFrames("server", [echo]).close, { code: 1008, reason: "" });
  await assert.rejects(socket.write(numbered(1)), Deno.errors.BrokenPipe);
  socket.close();
});

Deno.test("closeWith() says why, once", async () => {
  const [socket, peer] = against("server");
  await socket.closeWith({ code: 1013, reason: "é".repeat(100) });
  await socket.closeWith({ code: 1000, reason: "" });
  await assert.rejects(socket.closeWith({ code: 1005, reason: "" }), RangeError);
  const close = readFrames("client", [await waiting(peer, 4)]).close;
  assert.deepEqual(close, { code: 1013, reason: "é".repeat(61) }); // cut where a character ends
  socket.close();
});

Deno.test("a peer that breaks a rule is told, and reads reject, behind what came before", async () => {
  const [socket, peer] = against("server");
  await writeAll(peer, joined(masked("good"), frame("bad")));
  assert.equal(new TextDecoder().decode(await readExactly(socket, 4)), "good");
  for (let i = 0; i < 2; i++) {
    await assert.rejects(socket.read(new Uint8Array(9)), (error) => {
      assert.ok(error instanceof WebSocketFault && !error.byPeer && error.code === 1002);
      return true;
    });
  }
  const { close } = readFrames("client", [await waiting(peer, 4)]);
  assert.deepEqual(close, { code: 1002, reason: "Frame of a client that is not masked" });
  await assert.rejects(socket.write(numbered(1)), Deno.errors.BrokenPipe);
  socket.close();
});

Deno.test("a peer that breaks a rule and reads nothing is waited for only shortly", async () => {
  const [socket, peer] = against("server", 100);
  const stuck = socket.write(numbered(1000)).catch((error) => error);
  await writeAll(peer, frame("bad"));
  await assert.rejects(socket.read(new Uint8Array(9)), WebSocketFault);
  socket.close();
  assert.ok(await stuck instanceof Error);
});

Deno.test("a transport that ends without a close frame is a reset", async () => {
  const [socket, peer] = against("server");
  await writeAll(peer, masked("x"));
  await peer.closeWrite();
  await readExactly(socket, 1);
  await assert.rejects(socket.read(new Uint8Array(9)), Deno.errors.ConnectionReset);
  socket.close();
});

Deno.test("a reset of the transport is one here", async () => {
  const [socket, peer] = against("client");
  peer.abort();
  await assert.rejects(socket.read(new Uint8Array(9)), Deno.errors.ConnectionReset);
  await assert.rejects(socket.write(numbered(1)), Deno.errors.ConnectionReset);
  socket.close();
});

Deno.test("close() says goodbye when nothing is being sent, and a frame that is cut off has none behind it", async () => {
  const [idle, peer] = against("server");
  idle.close();
  assert.equal((await waiting(peer, 4)).toHex(), "880203e8");
  const [busy, other] = against("server", 100);
  const write = assert.rejects(busy.write(numbered(1000)), Deno.errors.Interrupted);
  const waits = assert.rejects(busy.write(numbered(1)), Deno.errors.Interrupted);
  await until(() => other.waiting === 100, { what: "the start of the frame" });
  busy.close();
  await Promise.all([write, waits]);
  assert.equal((await readExactly(other, 100)).subarray(0, 4).toHex(), "827e03e8");
  assert.equal(await other.read(new Uint8Array(9)), null);
});

Deno.test("close() interrupts a pending read, and what comes later is refused", async () => {
  const [socket, peer] = against("client");
  const read = assert.rejects(socket.read(new Uint8Array(9)), Deno.errors.Interrupted);
  socket.close();
  await read;
  await assert.rejects(socket.read(new Uint8Array(9)), Deno.errors.BadResource);
  await assert.rejects(socket.write(numbered(1)), Deno.errors.BadResource);
  await assert.rejects(socket.closeWrite(), Deno.errors.BadResource);
  assert.throws(() => socket.close(), Deno.errors.BadResource);
  peer.close();
});

Deno.test("a ping behind our close frame is not answered", async () => {
  const [socket, peer] = against("client");
  await socket.closeWrite();
  await writeAll(peer, joined(frame("p", { opcode: 9 }), frame("x")));
  await readExactly(socket, 1);
  socket.close();
  assert.equal((await waiting(peer, 8)).length, 8);
  assert.equal(await peer.read(new Uint8Array(9)), null);
});
