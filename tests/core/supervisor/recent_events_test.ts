import assert from "node:assert/strict";
import { connectionFilter, tunnelFilter } from "../../../core/data_plane/row_filter.ts";
import type { LogEvent, LogFields, LogLevel } from "../../../core/log.ts";
import { LogWriter } from "../../../core/supervisor/log_writer.ts";
import { RecentEvents } from "../../../core/supervisor/recent_events.ts";
import { GatewayState, type Prepared } from "../../../core/supervisor/state.ts";

function event(word: string, fields: LogFields = {}, level: LogLevel = "info", time = 0): LogEvent {
  return { time, level, from: "data-plane-0", event: word, fields };
}

const KEPT: readonly (readonly [string, LogLevel, boolean])[] = [
  ["tunnel_opened", "info", true],
  ["tunnel_closed", "info", true],
  ["reloaded", "info", true],
  ["certificates_reloaded", "info", true],
  ["admin_login", "info", true],
  ["connection_refused", "info", true],
  ["worker_died", "error", true],
  ["anything_new", "warn", true],
  ["connection_opened", "info", false],
  ["connection_closed", "info", false],
  ["http_request", "info", false],
  ["mutual_tls_proved", "debug", false],
];
for (const [word, level, kept] of KEPT) {
  Deno.test(`${word} at ${level} is ${kept ? "" : "not "}worth a look`, () => {
    const recent = new RecentEvents();
    recent.add(event(word, {}, level));
    assert.equal(recent.since(0).length, kept ? 1 : 0);
  });
}

Deno.test("events come in order, after the one that was seen last", () => {
  const recent = new RecentEvents();
  for (const tunnel of ["a", "b", "c"]) recent.add(event("tunnel_opened", { tunnel }));
  assert.deepEqual(recent.since(1).map(({ sequence, fields }) => [sequence, fields["tunnel"]]), [[2, "b"], [
    3,
    "c",
  ]]);
  assert.deepEqual([recent.since(3), recent.sequence], [[], 3]);
});

Deno.test("what a stranger repeats is one event a minute and reason, which comes anew with its count", () => {
  const recent = new RecentEvents();
  recent.add(event("connection_refused", { result: "unknown_name", sni: "a" }));
  recent.add(event("tunnel_opened"));
  recent.add(event("connection_refused", { result: "unknown_name", sni: "b" }, "info", 59_999));
  recent.add(event("connection_refused", { result: "preface_timeout" }));
  assert.deepEqual(recent.since(0).map(({ event, count, fields }) => [event, count, fields["sni"]]), [
    ["tunnel_opened", 1, undefined],
    ["connection_refused", 2, "b"],
    ["connection_refused", 1, undefined],
  ]);
  recent.add(event("connection_refused", { result: "unknown_name" }, "info", 60_000));
  assert.equal(recent.since(0).length, 4);
});

Deno.test("a flood of refusals with made-up reasons drives out nothing", () => {
  const recent = new RecentEvents();
  recent.add(event("tunnel_opened", { owner: "alice" }));
  for (let i = 0; i < 10_000; i++) recent.add(event("auth_failed", { reason: `made up ${i}` }, "warn"));
  assert.deepEqual(recent.since(0).map(({ event, count }) => [event, count]), [["tunnel_opened", 1], [
    "auth_failed",
    10_000,
  ]]);
});

Deno.test("the last two hundred are kept, their fields cut", () => {
  const recent = new RecentEvents();
  for (let i = 0; i < 1000; i++) recent.add(event("reloaded", { i }));
  const all = recent.since(0);
  assert.deepEqual([all.length, all[0]?.fields["i"], all.at(-1)?.fields["i"]], [200, 800, 999]);
  const many = Object.fromEntries(Array.from({ length: 50 }, (_, i) => [`k${i}`, "x".repeat(10_000)]));
  recent.add(event("reloaded", many));
  const last = recent.since(0).at(-1)?.fields ?? {};
  assert.deepEqual([Object.keys(last).length, String(last["k0"]).length], [12, 200]);
});

Deno.test("tunnels that come and go drive out nothing but what strangers caused, which then counts anew", () => {
  const recent = new RecentEvents();
  recent.add(event("worker_died", {}, "error"));
  recent.add(event("connection_refused", { result: "unknown_name" }));
  for (let i = 0; i < 1000; i++) recent.add(event(i % 2 ? "tunnel_closed" : "tunnel_opened", { i }));
  const words = recent.since(0).map(({ event }) => event);
  assert.deepEqual([words.length, words[0], words.includes("connection_refused")], [
    101,
    "worker_died",
    false,
  ]);
  recent.add(event("connection_refused", { result: "unknown_name" }));
  const last = recent.since(0).at(-1);
  assert.deepEqual([last?.event, last?.count], ["connection_refused", 1]);
});

/** What a plugin's log may hand over, against its type. */
const ODD: readonly (readonly [string, object, LogFields])[] = [
  ["no fields", { fields: null }, {}],
  ["a BigInt", { fields: { n: 7n } }, { n: "7" }],
  ["an object that cannot be text", { fields: { o: { toString: 1, valueOf: 1 } } }, { o: "[object Object]" }],
  ["null and undefined", { fields: { a: null, b: undefined } }, { a: "null" }],
  ["a long name", { fields: { ["x".repeat(300)]: true } }, { ["x".repeat(200)]: true }],
  ["nothing that is text", { event: null, from: {}, level: "loud", time: NaN }, {}],
];
for (const [what, odd, fields] of ODD) {
  Deno.test(`an event with ${what} is told as plain data, and the others with it`, () => {
    const recent = new RecentEvents();
    recent.add({ ...event("target_failed", {}, "warn"), ...odd });
    recent.add({ ...event("plugin_fault", {}, "warn"), ...odd });
    const told = recent.since(0);
    assert.deepEqual(told.map((one) => one.fields), [fields, fields]);
    assert.deepEqual(JSON.parse(JSON.stringify(told)), told);
  });
}

Deno.test("what is no event at all is counted as dropped, and loses nothing else of its batch", async () => {
  let lines = "";
  const writer = new LogWriter("json", {
    write(bytes) {
      lines += new TextDecoder().decode(bytes);
      return Promise.resolve(bytes.length);
    },
  });
  const prepared = { config: { log: { level: "debug" } } } as Prepared; // all that is looked at here
  const state = new GatewayState(prepared, writer, {});
  state.logMethods().log([null as unknown as LogEvent, event("worker_died", {}, "error")], 0);
  await writer.flush();
  assert.deepEqual(state.recent.since(0).map(({ event }) => event), ["worker_died"]);
  assert.match(lines, /"worker_died"[^]*"log_dropped","dropped":1/);
  state.registries[Symbol.dispose]();
});

const CONNECTION = {
  id: "c1",
  listener: "l",
  source: "192.0.2.1:4711",
  protocol: "tls",
  sni: "DB.example.com",
  state: "relaying",
  bytesIn: 0,
  bytesOut: 0,
  since: 0,
};
const TUNNEL = {
  id: "t1",
  plugin: "ws-agent",
  owner: "alice",
  source: { address: "192.0.2.7", port: 1 },
  since: 0,
  streams: 0,
  bytesIn: 0,
  bytesOut: 0,
  services: [{ id: "1", name: "app", protocol: "http", url: "https://app.example.com" }],
};
const FILTERS: readonly (readonly [string | undefined, boolean, boolean])[] = [
  [undefined, true, true],
  ["  ", true, true],
  ["db.EXAMPLE", true, false],
  [" 192.0.2. ", true, true],
  ["relay", true, false],
  ["alice", false, true],
  ["https://app", false, true],
  ["undefined", false, false],
  ["c1 192", false, false],
];
for (const [text, connection, tunnel] of FILTERS) {
  Deno.test(`the filter ${JSON.stringify(text)} finds ${connection ? "the connection" : "no connection"} and ${tunnel ? "the tunnel" : "no tunnel"}`, () => {
    assert.deepEqual([connectionFilter(text)(CONNECTION), tunnelFilter(text)(TUNNEL)], [connection, tunnel]);
  });
}
