import assert from "node:assert/strict";
import { INITIAL_WINDOW_BYTES } from "../../../../plugins/ws-agent/yamux/frame.ts";
import { ReceiveBudget, ReceiveWindow } from "../../../../plugins/ws-agent/yamux/receive_window.ts";

const KIB = 1024;
const MIB = 1024 * KIB;

/** Uses up and reads `bytes` within `ms`, in pieces, and gives what the peer is told meanwhile. */
function read(window: ReceiveWindow, from: number, bytes: number, ms: number, roundTripMs?: number): number {
  let told = 0;
  const pieces = bytes / (16 * KIB);
  for (let i = 1; i <= pieces; i++) {
    assert.ok(window.use(16 * KIB));
    window.consume(16 * KIB);
    if (window.wantsRefill) told += window.refill(from + ms * i / pieces, roundTripMs);
  }
  return told;
}

Deno.test("a window is refilled when half of it was read, and not before", () => {
  const window = new ReceiveWindow(new ReceiveBudget(32 * MIB), 0);
  assert.equal(read(window, 0, 112 * KIB, 1), 0);
  assert.equal(read(window, 1, 16 * KIB, 1), 128 * KIB);
  assert.equal(window.credit, INITIAL_WINDOW_BYTES);
});

Deno.test("no more may come than the window holds", () => {
  const window = new ReceiveWindow(new ReceiveBudget(32 * MIB), 0);
  assert.equal(window.use(INITIAL_WINDOW_BYTES + 1), false);
  assert.equal(window.use(INITIAL_WINDOW_BYTES), true);
  assert.equal(window.use(1), false);
});

Deno.test("a window grows to four round trips' worth, and shrinks when less is read", () => {
  const window = new ReceiveWindow(new ReceiveBudget(128 * MIB), 0);
  read(window, 0, 32 * MIB, 320, 10); // 100 KiB a millisecond
  assert.ok(window.size > 3.5 * MIB && window.size < 4.5 * MIB, `${window.size}`);
  read(window, 320, 32 * MIB, 32_000, 10);
  assert.equal(window.size, INITIAL_WINDOW_BYTES);
});

Deno.test("a window is at most 16 MiB, and all together what the session has room for", () => {
  const rich = new ReceiveWindow(new ReceiveBudget(256 * MIB), 0);
  read(rich, 0, 64 * MIB, 64, 100);
  assert.equal(rich.size, 16 * MIB);
  const budget = new ReceiveBudget(4 * MIB);
  const windows = [1, 2, 3].map(() => new ReceiveWindow(budget, 0));
  for (const window of windows) read(window, 0, 16 * MIB, 16, 100);
  const beyond = windows.reduce((sum, window) => sum + window.size - INITIAL_WINDOW_BYTES, 0);
  assert.ok(beyond <= 2 * MIB, `${beyond}`);
  for (const window of windows) window.close();
  assert.equal(budget.room, 2 * MIB);
});

Deno.test("windows shrink while much waits for its readers", () => {
  const budget = new ReceiveBudget(MIB);
  const window = new ReceiveWindow(budget, 0);
  budget.wait(600 * KIB);
  assert.equal(read(window, 0, 240 * KIB, 1, 10), 32 * KIB);
  assert.equal(window.size, 64 * KIB);
});

Deno.test("when more may wait than before, whoever waits for room goes on", () => {
  const budget = new ReceiveBudget(64 * KIB);
  let told = 0;
  budget.onRoom = () => told++;
  budget.wait(64 * KIB);
  assert.equal(budget.isFull, true);
  budget.most = 32 * KIB;
  assert.equal(told, 0);
  budget.most = MIB;
  assert.equal(told, 1);
  assert.equal(budget.left, MIB - 64 * KIB);
});
