import assert from "node:assert/strict";
import type { LogEvent } from "../../../core/log.ts";
import { type LogTarget, LogWriter } from "../../../core/supervisor/log_writer.ts";

function event(fields: LogEvent["fields"] = {}, more: Partial<LogEvent> = {}): LogEvent {
  return { time: 1_800_000_000_000, level: "info", from: "test", event: "happened", fields, ...more };
}

/** Keeps what is written, as far as it is let. */
class Target implements LogTarget {
  text = "";
  writes = 0;
  readonly #gate: Promise<void>;
  readonly #most: number;

  constructor({ gate = Promise.resolve(), most = Infinity }: { gate?: Promise<void>; most?: number } = {}) {
    this.#gate = gate;
    this.#most = most;
  }

  async write(bytes: Uint8Array): Promise<number> {
    this.writes++;
    await this.#gate;
    const taken = bytes.subarray(0, this.#most);
    this.text += new TextDecoder("latin1").decode(taken);
    return taken.length;
  }

  get lines(): string[] {
    return this.text.split("\n").slice(0, -1);
  }
}

Deno.test("json: one event a line, in order, time and level first", async () => {
  const target = new Target();
  const writer = new LogWriter("json", target);
  writer.write(event({ sni: "db.example.com", bytesIn: 5, ok: true, none: undefined }));
  writer.write(event({}, { level: "warn" }));
  await writer.flush();
  assert.deepEqual(target.lines, [
    '{"time":"2027-01-15T08:00:00.000Z","level":"info","from":"test","event":"happened",' +
    '"sni":"db.example.com","bytesIn":5,"ok":true}',
    '{"time":"2027-01-15T08:00:00.000Z","level":"warn","from":"test","event":"happened"}',
  ]);
  assert.equal(target.writes, 1, "what comes together is written together");
});

Deno.test("json: a field cannot pass for the event's own time, level, origin or word", async () => {
  const target = new Target();
  const writer = new LogWriter("json", target);
  writer.write(event({ time: 0, level: "error", from: "supervisor", event: "stopped", why: "forged" }));
  await writer.flush();
  const { time, level, from, event: word, why } = JSON.parse(target.text);
  assert.deepEqual([time, level, from, word, why], [
    "2027-01-15T08:00:00.000Z",
    "info",
    "test",
    "happened",
    "forged",
  ]);
});

const HOSTILE = [
  "a\nb",
  "a\r\nFAKE line",
  "\x1b[2J\x1b[31mred",
  "\x9b31m",
  "\u2028\u2029",
  "\u202egnp.exe\u2066",
  "\u{e0041}",
  "\x00\x07\x08\x7f",
  'quote" and \\ backslash',
  "key=value other=1",
  "%s %d {name} {{x}}",
  "",
];

/** What {@link formatPretty} adds of its own, for a terminal. */
// deno-lint-ignore no-control-regex -- colours are control characters
const COLOURS = /\x1b\[[\d;]*m/g;

for (const text of HOSTILE) {
  Deno.test(`pretty: one event a line, whatever is in it: ${JSON.stringify(text)}`, async () => {
    const target = new Target();
    const writer = new LogWriter("pretty", target);
    for (const one of [event({ sni: text }), event({ [text]: 1 }), event({}, { event: text })]) {
      writer.write(one);
    }
    await writer.flush();
    assert.equal(target.lines.length, 3);
    const bare = target.lines.map((line) => line.replaceAll(COLOURS, ""));
    // deno-lint-ignore no-control-regex -- control characters are exactly what is looked for
    for (const line of bare) assert.doesNotMatch(line, /[\x00-\x1f\x7f-\x9f\p{Cf}]/u);
    assert.match(bare[0] ?? "", /happened sni="/);
    assert.equal(JSON.parse(/sni=(".*")/.exec(bare[0] ?? "")?.[1] ?? "null"), text);
  });
}

for (const text of HOSTILE) {
  Deno.test(`json: nothing for a terminal to act upon, and the same text: ${JSON.stringify(text)}`, async () => {
    const target = new Target();
    const writer = new LogWriter("json", target);
    writer.write(event({ sni: text }));
    await writer.flush();
    assert.equal(target.lines.length, 1);
    // deno-lint-ignore no-control-regex -- control characters are exactly what is looked for
    assert.doesNotMatch(target.lines[0] ?? "", /[\x00-\x1f\x7f-\x9f\p{Cf}]/u);
    assert.equal(JSON.parse(target.lines[0] ?? "").sni, text);
  });
}

Deno.test("pretty: plain values are not quoted", async () => {
  const target = new Target();
  const writer = new LogWriter("pretty", target);
  writer.write(event({ source: "[::1]:443", sni: "*.example.com", bytesIn: 5, late: undefined }));
  await writer.flush();
  assert.match(
    target.text.replaceAll(COLOURS, ""),
    /happened source=\[::1\]:443 sni=\*\.example\.com bytesIn=5\n$/,
  );
});

Deno.test("a target that hangs holds up nobody: what waits is bounded, the rest is counted and told", async () => {
  const { promise: gate, resolve: open } = Promise.withResolvers<void>();
  const target = new Target({ gate });
  const writer = new LogWriter("json", target);
  writer.write(event({ first: true }));
  await Promise.resolve();
  await Promise.resolve();
  for (let i = 0; i < 25_000; i++) writer.write(event({ i }));
  writer.addDropped(7);
  assert.equal(target.text, "");
  open();
  await writer.flush();
  const lines = target.lines.map((line) => JSON.parse(line));
  assert.equal(lines.length, 1 + 10_000 + 1);
  assert.deepEqual([lines[1].i, lines.at(-2).i], [0, 9_999]);
  const { level, event: word, dropped } = lines.at(-1);
  assert.deepEqual([level, word, dropped], ["warn", "log_dropped", 15_000 + 7]);
});

Deno.test("flush() gives up on a target that hangs after a second", async () => {
  const { promise: gate, resolve: open } = Promise.withResolvers<void>();
  const writer = new LogWriter("json", new Target({ gate }));
  writer.write(event());
  const before = performance.now();
  await writer.flush();
  assert.ok(performance.now() - before < 5000);
  open();
});

Deno.test("a target that takes a few bytes at a time gets all of them", async () => {
  const target = new Target({ most: 7 });
  const writer = new LogWriter("json", target);
  for (let i = 0; i < 50; i++) writer.write(event({ i }));
  await writer.flush();
  assert.deepEqual(target.lines.map((line) => JSON.parse(line).i), Array.from({ length: 50 }, (_, i) => i));
});

Deno.test("a target that nobody reads any more ends nothing", async () => {
  let calls = 0;
  const writer = new LogWriter("json", {
    write() {
      calls++;
      return Promise.reject(new Deno.errors.BrokenPipe("gone"));
    },
  });
  writer.write(event());
  await writer.flush();
  writer.write(event());
  await writer.flush();
  assert.equal(calls, 2);
});

for (const format of ["json", "pretty"] as const) {
  Deno.test(`${format}: fields that are no plain data lose themselves, and no other line`, async () => {
    const target = new Target();
    const writer = new LogWriter(format, target);
    const circle: Record<string, unknown> = {};
    circle["self"] = circle;
    for (const value of [circle, 5n, Object.create(null), Symbol("s")]) {
      writer.write(event({ value } as unknown as LogEvent["fields"]));
    }
    writer.write(event({ value: "fine" }));
    await writer.flush();
    assert.equal(target.lines.length, 5);
    assert.match(target.lines[4] ?? "", /fine/);
  });
}
