import assert from "node:assert/strict";
import fc from "fast-check";
import { formatDuration, formatSize, parseDuration, parseSize } from "../../../core/config/units.ts";

const durations: readonly (readonly [unknown, number | undefined])[] = [
  [0, 0],
  ["0", 0],
  ["0s", 0],
  ["500ms", 500],
  ["10s", 10_000],
  ["5m", 300_000],
  ["1h", 3_600_000],
  ["1h30m", 5_400_000],
  ["10", undefined],
  [10, undefined],
  ["-5s", undefined],
  ["1.5s", undefined],
  ["5 m", undefined],
  ["5M", undefined],
  ["1d", undefined],
  ["", undefined],
  ["s", undefined],
  ["1e3s", undefined],
  ["٣s", undefined],
  ["9999999999h", undefined],
  [NaN, undefined],
  [null, undefined],
  [["10s"], undefined],
  ["1s".repeat(1000), undefined],
];
for (const [given, ms] of durations) {
  Deno.test(`parseDuration() reads ${JSON.stringify(given)?.slice(0, 30)} as ${ms}`, () => {
    assert.equal(parseDuration(given), ms);
  });
}

const sizes: readonly (readonly [unknown, number | undefined])[] = [
  [0, 0],
  [1500, 1500],
  ["100B", 100],
  ["64KiB", 65_536],
  ["1MiB", 1_048_576],
  ["2GiB", 2_147_483_648],
  ["64KB", undefined],
  ["64kib", undefined],
  ["64", undefined],
  [-1, undefined],
  [0.5, undefined],
  [2 ** 60, undefined],
  [Infinity, undefined],
  [true, undefined],
];
for (const [given, bytes] of sizes) {
  Deno.test(`parseSize() reads ${JSON.stringify(given)} as ${bytes}`, () => {
    assert.equal(parseSize(given), bytes);
  });
}

Deno.test("formatDuration() and formatSize() use the largest unit that fits", () => {
  assert.deepEqual([0, 1, 1500, 90_000, 300_000, 7_200_000].map(formatDuration), [
    "0",
    "1ms",
    "1500ms",
    "90s",
    "5m",
    "2h",
  ]);
  assert.deepEqual([0, 1, 1500, 65_536, 2 ** 20, 3 * 2 ** 30].map(formatSize), [
    "0B",
    "1B",
    "1500B",
    "64KiB",
    "1MiB",
    "3GiB",
  ]);
});

Deno.test("What is formatted reads back as the same amount", () => {
  fc.assert(fc.property(fc.nat(999_999_999), (n) => {
    assert.equal(parseDuration(formatDuration(n)), n);
    assert.equal(parseSize(formatSize(n)), n);
  }));
});
