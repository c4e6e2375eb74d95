import assert from "node:assert/strict";
import { LiveHub, MAX_WAITING_BYTES } from "../../../core/admin/live_hub.ts";
import type { LiveReport, RecentEvent } from "../../../core/data_plane/snapshot.ts";
import { until } from "../../support/until.ts";
import { LIVE } from "./harness.ts";

const FREELY = { permitted: () => true };

function event(sequence: number): RecentEvent {
  return { sequence, count: 1, time: 0, level: "info", from: "a", event: "tunnel_opened", fields: {} };
}

/** What a stream has said so far, read as fast as it comes. */
function listen(stream: ReadableStream<Uint8Array> | undefined) {
  const heard = { text: "", ended: false, failed: "" };
  const reader = stream?.pipeThrough(new TextDecoderStream()).getReader();
  const done = (async () => {
    try {
      for (let part; (part = await reader?.read()) && !part.done;) heard.text += part.value;
      heard.ended = true;
    } catch (error) {
      heard.failed = String(error);
    }
  })();
  return { heard, done, leave: () => reader?.cancel() };
}

function samplesIn(text: string): number {
  return text.split("event: sample").length - 1;
}

Deno.test("nothing is asked for while nobody listens, and once for all who do", async () => {
  let asked = 0;
  const hub = new LiveHub({ intervalMs: 1, live: () => (asked++, Promise.resolve(LIVE)) });
  assert.equal(asked, 0);
  const listeners = [1, 2, 3].map(() => listen(hub.open(FREELY)));
  const heardAll = () => listeners.every(({ heard }) => samplesIn(heard.text) >= 3);
  await until(heardAll, { what: "three samples each" });
  assert.ok(asked <= Math.max(...listeners.map(({ heard }) => samplesIn(heard.text))) + 2, `${asked}`);
  for (const { leave } of listeners) await leave();
  assert.equal(hub.listeners, 0);
  await until(() => Reflect.get(hub, "listeners") === 0, { what: "the end" });
  hub.stop();
  const before = asked;
  assert.equal(hub.open(FREELY), undefined);
  assert.equal(asked, before);
});

Deno.test("a second listener gets what the first has seen, and events from now on, or after the last it saw", async () => {
  let sequence = 5;
  const live = (after: number): Promise<LiveReport> => {
    const events = Array.from({ length: sequence - after }, (_, i) => event(after + 1 + i));
    return Promise.resolve({ ...LIVE, events, sequence });
  };
  const hub = new LiveHub({ intervalMs: 1, live });
  const first = listen(hub.open(FREELY));
  await until(() => samplesIn(first.heard.text) > 2, { what: "samples" });
  assert.doesNotMatch(first.heard.text, /event: happened/);
  sequence = 6;
  await until(() => first.heard.text.includes("id: 6\nevent: happened\n"), { what: "the event" });

  const second = listen(hub.open({ ...FREELY, after: 4 }));
  await until(() => samplesIn(second.heard.text) > 0, { what: "a sample" });
  assert.match(second.heard.text, /event: history\ndata: \[\{.*\},\{.*\}\]\n\n/);
  await until(() => second.heard.text.includes("id: 6\n"), { what: "what it has missed" });
  assert.deepEqual(Array.from(second.heard.text.matchAll(/^id: (\d+)$/gm), ([, id]) => id), ["5", "6"]);
  hub.stop();
  await Promise.all([first.done, second.done]);
  assert.deepEqual([first.heard.ended, second.heard.ended], [true, true]);
});

Deno.test("who saw more than there is comes from before a restart, and gets all that happened since", async () => {
  const live = (after: number): Promise<LiveReport> => {
    const events = Array.from({ length: 3 - after }, (_, i) => event(after + 1 + i));
    return Promise.resolve({ ...LIVE, events, sequence: 3 });
  };
  const hub = new LiveHub({ intervalMs: 1, live });
  const other = listen(hub.open(FREELY));
  await until(() => samplesIn(other.heard.text) > 1, { what: "samples" });
  const back = listen(hub.open({ ...FREELY, after: 900 }));
  await until(() => samplesIn(back.heard.text) > 1, { what: "samples" });
  assert.deepEqual(Array.from(back.heard.text.matchAll(/^id: (\d+)$/gm), ([, id]) => id), ["1", "2", "3"]);
  hub.stop();
  await Promise.all([other.done, back.done]);
});

Deno.test("who does not read is dropped, with what waits for him; others go on", async () => {
  const padding = "x".repeat(MAX_WAITING_BYTES / 8);
  const hub = new LiveHub({
    intervalMs: 1,
    live: () => Promise.resolve({ ...LIVE, sample: { ...LIVE.sample, rejected: { [padding]: 1 } } }),
  });
  const slow = hub.open(FREELY);
  const quick = listen(hub.open(FREELY));
  await until(() => hub.listeners === 1, { what: "the slow one to be dropped" });
  await assert.rejects(async () => await slow?.getReader().read(), /too slowly/);
  const before = samplesIn(quick.heard.text);
  await until(() => samplesIn(quick.heard.text) > before + 2, { what: "the other to go on" });
  hub.stop();
  await quick.done;
});

Deno.test("a supervisor that fails or is late is asked again, and one listener is never told twice at once", async () => {
  let asked = 0;
  const hub = new LiveHub({
    intervalMs: 1,
    live: () => ++asked % 2 === 1 ? Promise.reject(new Error("away")) : Promise.resolve(LIVE),
  });
  const listener = listen(hub.open(FREELY));
  await until(() => samplesIn(listener.heard.text) > 1, { what: "samples" });
  hub.closeAll();
  await listener.done;
  assert.equal(listener.heard.ended, true);
  hub.stop();
});

Deno.test("a supervisor that does not answer at all is asked again", async () => {
  let asked = 0;
  const hub = new LiveHub({
    intervalMs: 1,
    answerTimeoutMs: 1,
    live: () => ++asked === 1 ? new Promise(() => {}) : Promise.resolve(LIVE),
  });
  const listener = listen(hub.open(FREELY));
  await until(() => samplesIn(listener.heard.text) > 0, { what: "a sample" });
  hub.stop();
  await listener.done;
});

Deno.test("a listener that may not listen any more is told nothing more", async () => {
  let permitted = true;
  const hub = new LiveHub({ intervalMs: 1, live: () => Promise.resolve(LIVE) });
  const listener = listen(hub.open({ permitted: () => permitted }));
  await until(() => samplesIn(listener.heard.text) > 0, { what: "a sample" });
  permitted = false;
  await listener.done;
  assert.deepEqual([listener.heard.ended, hub.listeners], [true, 0]);
  hub.stop();
});

Deno.test("what looks like a secret is not told", async () => {
  const secret = { ...event(1), fields: { url: "postgres://u:planted@db", apiToken: "planted" } };
  const hub = new LiveHub({
    intervalMs: 1,
    live: () => Promise.resolve({ ...LIVE, events: [secret], sequence: 1 }),
  });
  const listener = listen(hub.open({ ...FREELY, after: 0 }));
  await until(() => listener.heard.text.includes("event: happened"), { what: "the event" });
  assert.doesNotMatch(listener.heard.text, /planted/);
  hub.stop();
  await listener.done;
});
