import assert from "node:assert/strict";
import { type ByteStream, writeAll } from "../../../../core/byte_stream.ts";
import { GatewayError } from "../../../../core/errors.ts";
import { createLog, type LogEvent } from "../../../../core/log.ts";
import type { ConnectionInfo } from "../../../../core/plugin/contract.ts";
import { type Clock, SYSTEM_CLOCK } from "../../../../plugins/ws-agent/clock.ts";
import { QueueMemory } from "../../../../plugins/ws-agent/udp/datagram_queue.ts";
import { readDatagrams, type TakeDatagram } from "../../../../plugins/ws-agent/udp/datagram_stream.ts";
import { HttpRefusal } from "../../../../plugins/ws-agent/http/refusal.ts";
import { FlowCounts, groupOf, type UdpLimits } from "../../../../plugins/ws-agent/udp/flow_limits.ts";
import { type DatagramResult, UdpCounters } from "../../../../plugins/ws-agent/udp/udp_counters.ts";
import {
  DRAINING_IDLE_MS,
  FLOW_IDLE_MS,
  type PortTools,
  SILENT_SOURCE_MS,
  UdpPort,
} from "../../../../plugins/ws-agent/udp/udp_port.ts";
import { pipe, type PipeEnd } from "../../../support/pipe.ts";
import { until } from "../../../support/until.ts";
import { TestUdpPort } from "../harness.ts";

const encode = (text: string) => new TextEncoder().encode(text);
const decode = (bytes: Uint8Array) => new TextDecoder().decode(bytes);

interface Opened {
  readonly connection: ConnectionInfo;
  /** The agent's end. */
  readonly agent: PipeEnd;
  readonly seen: string[];
  readonly signal: AbortSignal;
}

function seeing({ seen }: Opened): TakeDatagram {
  return (datagram) => void seen.push(decode(datagram));
}

/** Ports without sockets, whose streams end here, and time that moves when it is told to. */
class Bench implements Disposable {
  readonly socket = new TestUdpPort(0, 30_001, () => {});
  /** Of another port of the same data plane. */
  readonly otherSocket = new TestUdpPort(0, 30_002, () => {});
  readonly opened: Opened[] = [];
  readonly events: LogEvent[] = [];
  readonly counters = new UdpCounters();
  readonly memory: QueueMemory;
  readonly port: UdpPort;
  readonly otherPort: UdpPort;
  /** What opening comes to, in place of a stream. */
  refusal: "not there" | Error | undefined;
  /** Whether agents read what they are sent, by the order in which their streams were opened. */
  reads: (index: number) => boolean = () => true;
  /** How many streams there may be at once. */
  mostStreams = Infinity;
  /** Streams never open: what asked for one has to give up. */
  comesLate = false;
  now = 1_000_000;

  constructor(limits: Partial<UdpLimits> = {}, memoryBytes = 1024 * 1024) {
    const clock: Clock = { ...SYSTEM_CLOCK, monotonic: () => this.now };
    this.memory = new QueueMemory(memoryBytes);
    const tools: PortTools = {
      name: "ws-agent",
      clock,
      log: createLog("t", "debug", (event) => this.events.push(event)),
      counters: this.counters,
      counts: new FlowCounts(),
      memory: this.memory,
      limits: () => ({ udpFlows: 100, udpFlowsPerPort: 100, udpFlowsPerSource: 100, ...limits }),
      nextId: () => `u${this.opened.length}`,
      open: (connection, signal) => this.#open(connection, signal),
    };
    this.port = new UdpPort(this.socket, "127.0.0.1", tools);
    this.otherPort = new UdpPort(this.otherSocket, "127.0.0.1", tools);
  }

  /** Datagrams of a source, and resolves when they have been looked at. */
  say(fromPort: number, ...texts: readonly string[]): Promise<void> {
    return this.#deliver(this.socket, fromPort, texts);
  }

  /** The same to the other port. */
  sayToOther(fromPort: number, ...texts: readonly string[]): Promise<void> {
    return this.#deliver(this.otherSocket, fromPort, texts);
  }

  async #deliver(socket: TestUdpPort, fromPort: number, texts: readonly string[]): Promise<void> {
    for (const text of texts) socket.deliver(encode(text), fromPort);
    await until(() => socket.isIdle, { what: "the datagrams to be taken" });
  }

  /** Waits until an agent has seen these, in all. */
  async saw(index: number, ...texts: readonly string[]): Promise<void> {
    await until(() => (this.opened[index]?.seen.length ?? 0) >= texts.length, {
      what: () => `${texts} in ${JSON.stringify(this.opened[index]?.seen)}`,
    });
    assert.deepEqual(this.opened[index]?.seen, texts);
  }

  /** An agent sends datagrams back. */
  async answer(index: number, ...datagrams: readonly Uint8Array[]): Promise<void> {
    const agent = this.opened[index]?.agent ?? assert.fail(`There is no stream ${index}`);
    for (const datagram of datagrams) {
      await writeAll(agent, Uint8Array.of(datagram.length >>> 8, datagram.length & 0xff, ...datagram));
    }
  }

  async advance(ms: number): Promise<void> {
    this.now += ms;
    this.port.tick(this.now);
    await Promise.resolve();
  }

  get ends(): unknown[] {
    return this.events.filter(({ event }) => event === "udp_flow_closed").map(({ fields }) =>
      fields["result"]
    );
  }

  count(direction: "in" | "out", result: DatagramResult): number {
    const sample = this.counters.samples().find(({ labels }) =>
      labels["direction"] === direction && labels["result"] === result
    );
    return sample !== undefined && "value" in sample ? sample.value : NaN;
  }

  [Symbol.dispose](): void {
    this.port.close();
    this.otherPort.close();
  }

  #open(connection: ConnectionInfo, signal: AbortSignal): Promise<ByteStream | undefined> {
    if (this.refusal === "not there") return Promise.resolve(undefined);
    if (this.refusal !== undefined) return Promise.reject(this.refusal);
    const ended = this.ends.filter((end) => end !== "no_agent").length;
    if (this.opened.length - ended >= this.mostStreams) {
      return Promise.reject(new HttpRefusal(503, "Its agent has as many streams as it may"));
    }
    const [ours, agent] = pipe({ capacity: 4096 });
    const opened: Opened = { connection, agent, seen: [], signal };
    const index = this.opened.push(opened) - 1;
    if (this.reads(index)) {
      readDatagrams(agent, seeing(opened)).catch(() => {});
    }
    if (!this.comesLate) return Promise.resolve(ours);
    return new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason)));
  }
}

Deno.test("each source has a stream of its own, and answers go to it alone", async () => {
  using bench = new Bench();
  await bench.say(1001, "a", "");
  await bench.say(1002, "b");
  await bench.saw(0, "a", "");
  await bench.saw(1, "b");
  assert.deepEqual(bench.opened.map(({ connection }) => connection.source.port), [1001, 1002]);
  assert.deepEqual(bench.opened[0]?.connection.destination, { address: "127.0.0.1", port: 30_001 });
  await bench.answer(1, encode("answer"), new Uint8Array());
  await until(() => bench.socket.sent.length === 2, { what: "the answers" });
  assert.deepEqual(bench.socket.sent.map(({ data, to }) => [decode(data), to]), [["answer", 1002], [
    "",
    1002,
  ]]);
});

Deno.test("a flow without traffic either way ends after a minute, and nobody is sent anything afterwards", async () => {
  using bench = new Bench();
  await bench.say(1001, "a");
  await bench.say(1002, "b");
  await bench.saw(1, "b");
  await bench.advance(FLOW_IDLE_MS - 1);
  assert.deepEqual(bench.ends, []);
  await bench.say(1001, "again");
  await bench.advance(1);
  assert.deepEqual(bench.ends, ["idle_timeout"]);
  await assert.rejects(bench.answer(1, encode("late")));
  assert.deepEqual(bench.socket.sent, []);
  assert.equal(bench.port.size, 1);
  const { fields } = bench.events.find(({ event }) => event === "udp_flow_closed") ?? assert.fail();
  const { sourcePort, bytesIn, datagramsIn, dropped, ms } = fields;
  assert.deepEqual({ sourcePort, bytesIn, datagramsIn, dropped, ms }, {
    sourcePort: 1002,
    bytesIn: 1,
    datagramsIn: 1,
    dropped: 0,
    ms: FLOW_IDLE_MS,
  });
});

Deno.test("a source that only hears is given up at last", async () => {
  using bench = new Bench();
  await bench.say(1001, "subscribe");
  await bench.saw(0, "subscribe");
  for (let at = 0; at < SILENT_SOURCE_MS; at += 50_000) {
    const { length } = bench.socket.sent;
    await bench.answer(0, encode("news"));
    await until(() => bench.socket.sent.length > length, { what: "news" });
    assert.deepEqual(bench.ends, []);
    await bench.advance(50_000);
  }
  assert.deepEqual(bench.ends, ["source_silent"]);
});

Deno.test("a stream that nobody reads loses its own oldest datagrams, and no other flow any", async () => {
  using bench = new Bench();
  bench.reads = (index) => index !== 0;
  const large = "x".repeat(10_000);
  await bench.say(1001, ...Array.from({ length: 40 }, (_, i) => `${i}${large}`));
  const dropped = bench.count("in", "queue_full");
  assert.ok(dropped > 10, `${dropped}`);
  await bench.say(1002, "b", "c");
  await bench.saw(1, "b", "c");
  assert.equal(bench.count("in", "queue_full"), dropped);
  // What has waited is the newest, in its order.
  const [blocked] = bench.opened;
  assert.ok(blocked);
  readDatagrams(blocked.agent, seeing(blocked)).catch(() => {});
  await until(() => blocked.seen.at(-1) === `39${large}`, { what: "the newest" });
  const numbers = blocked.seen.map((text) => parseInt(text));
  assert.equal(numbers.length, 40 - dropped);
  assert.deepEqual(numbers, numbers.toSorted((a, b) => a - b));
  assert.equal(bench.count("in", "passed"), 42 - dropped);
});

Deno.test("queues share their memory: with none left, a flow drops, and a small one still goes", async () => {
  using bench = new Bench({}, 40_000);
  bench.reads = () => false;
  for (const port of [1001, 1002, 1003]) {
    await bench.say(port, ...Array.from({ length: 20 }, () => "x".repeat(5000)));
  }
  assert.ok(bench.count("in", "queue_full") > 40);
  bench.port.close();
  assert.ok(bench.memory.claim(40_000), "all of it is given back");
});

Deno.test("a source that has not shown that it hears is sent so much and no more", async () => {
  using bench = new Bench();
  await bench.say(1001, "query");
  await bench.saw(0, "query");
  const answers = Array.from({ length: 20 }, () => new Uint8Array(5000));
  const sending = bench.answer(0, ...answers);
  await until(() => bench.count("out", "unverified") > 0, { what: "an answer that is held back" });
  await sending;
  await until(() => bench.count("out", "unverified") + bench.socket.sent.length === 20, {
    what: "all answers",
  });
  assert.equal(bench.socket.sent.length, 13); // 64 KiB and thrice the five bytes
  await bench.say(1001, "more");
  await bench.saw(0, "query", "more");
  await bench.answer(0, ...answers);
  await until(() => bench.socket.sent.length === 33, { what: "all that follows" });
});

Deno.test("over a limit, those go whose source has not shown that it hears, once they are answered or old", async () => {
  using bench = new Bench({ udpFlowsPerPort: 2 });
  await bench.say(1001, "a");
  await bench.say(1002, "b");
  await bench.saw(1, "b");
  await bench.say(1003, "too young to go for it");
  assert.equal(bench.count("in", "over_limit"), 1);
  await bench.answer(1, encode("answer"));
  await until(() => bench.socket.sent.length === 1, { what: "the answer" });
  await bench.say(1003, "c");
  await bench.saw(2, "c");
  assert.deepEqual(bench.ends, ["replaced"]);
  await bench.answer(0, encode("answer"));
  await bench.answer(2, encode("answer"));
  await until(() => bench.socket.sent.length === 3, { what: "the answers" });
  await bench.say(1001, "heard");
  await bench.say(1003, "heard");
  await bench.advance(10_000);
  await bench.say(1004, "no room");
  assert.equal(bench.count("in", "over_limit"), 2);
  assert.equal(bench.port.size, 2);
});

Deno.test("limits.udpFlowsPerSource bounds one address, whatever its ports", async () => {
  using bench = new Bench({ udpFlowsPerSource: 2 });
  for (const port of [1001, 1002, 1003]) await bench.say(port, "a");
  assert.equal(bench.count("in", "over_limit"), 1);
  assert.deepEqual(
    bench.events.filter(({ event }) => event === "udp_flow_refused").map(({ fields }) => fields["reason"]),
    ["limits.udpFlowsPerSource 192.0.2.9"],
  );
  assert.equal(groupOf("2001:db8:1:2:3::4"), groupOf("2001:db8:1:2::"));
  assert.notEqual(groupOf("2001:db8:1:2::"), groupOf("2001:db8:1:3::"));
});

for (const limit of ["udpFlows", "udpFlowsPerSource"] as const) {
  Deno.test(`limits.${limit}: a flow gives way to one of another port`, async () => {
    using bench = new Bench({ [limit]: 2 });
    await bench.say(1001, "a");
    await bench.say(1002, "b");
    await bench.sayToOther(1003, "too early");
    assert.equal(bench.count("in", "over_limit"), 1);
    bench.now += 1000;
    await bench.sayToOther(1003, "c");
    await bench.saw(2, "c");
    assert.deepEqual(bench.ends, ["replaced"]);
    assert.deepEqual([bench.port.size, bench.otherPort.size], [1, 1]);
    const { fields } = bench.events.find(({ event }) => event === "udp_flow_closed") ?? assert.fail();
    assert.deepEqual([fields["port"], fields["sourcePort"]], [30_001, 1001]);
    await bench.say(1001, "again, and it makes room itself");
    await bench.saw(3, "again, and it makes room itself");
    assert.deepEqual([bench.port.size, bench.otherPort.size], [1, 1]);
  });
}

Deno.test("with a tunnel that is full, a flow gives up its stream for a new one, if it may be a forged one", async () => {
  using bench = new Bench();
  bench.mostStreams = 2;
  await bench.say(1001, "a");
  await bench.say(1002, "b");
  await bench.saw(1, "b");
  await bench.say(1003, "too early");
  await until(() => bench.count("in", "no_agent") === 1, { what: "the refusal" });
  bench.now += 1000;
  await bench.say(1004, "d");
  await bench.saw(2, "d");
  assert.deepEqual(bench.ends, ["no_agent", "replaced"]);
  await bench.answer(1, encode("answer"));
  await bench.answer(2, encode("answer"));
  await until(() => bench.socket.sent.length === 2, { what: "the answers" });
  await bench.say(1002, "heard");
  await bench.say(1004, "heard");
  bench.now += 1000;
  await bench.say(1005, "no room");
  await until(() => bench.count("in", "no_agent") === 2, { what: "the refusal" });
});

Deno.test("a flow that still waits for its stream gives way, too, and nobody opens one for it any more", async () => {
  using bench = new Bench();
  bench.mostStreams = 1;
  bench.comesLate = true;
  await bench.say(1001, "a");
  assert.equal(bench.opened[0]?.signal.aborted, false);
  bench.comesLate = false;
  bench.now += 1000;
  await bench.say(1002, "b");
  await bench.saw(1, "b");
  assert.equal(bench.opened[0]?.signal.aborted, true);
  assert.deepEqual(bench.ends, ["replaced"]);
});

Deno.test("no counter ever falls, whatever becomes of datagrams that wait", async () => {
  using bench = new Bench();
  bench.reads = () => false;
  const least = new Map<string, number>();
  const look = () => {
    for (const sample of bench.counters.samples()) {
      const key = JSON.stringify(sample.labels);
      const value = "value" in sample ? sample.value : NaN;
      assert.ok(value >= (least.get(key) ?? 0), key);
      least.set(key, value);
    }
  };
  for (let i = 0; i < 40; i++) {
    await bench.say(1001, "x".repeat(10_000));
    look();
  }
  bench.opened[0]?.agent.abort();
  await until(() => bench.ends.length === 1, { what: "the end" });
  look();
  const all = (["passed", "queue_full", "no_agent"] as const).map((result) => bench.count("in", result));
  assert.ok(all.every((count) => count > 0), all.join());
  assert.equal(all.reduce((sum, count) => sum + count), 40);
});

Deno.test("without an agent datagrams are dropped, and refused flows do not come again at their pace", async () => {
  using bench = new Bench();
  for (const refusal of ["not there", new GatewayError("dial-failed", "gone")] as const) {
    bench.refusal = refusal;
    await bench.advance(2000);
    await bench.say(1001, "a", "b", "c");
    await until(() => bench.port.size === 1, { what: "the flow" });
  }
  assert.equal(bench.count("in", "no_agent"), 6);
  assert.equal(bench.ends.length, 2);
  bench.refusal = undefined;
  await bench.say(1001, "too early");
  assert.equal(bench.opened.length, 0);
  bench.now += 1000;
  await bench.say(1001, "back");
  await bench.saw(0, "back");
});

Deno.test("a stream that its agent ends is made anew by the next datagram", async () => {
  using bench = new Bench();
  await bench.say(1001, "a");
  await bench.saw(0, "a");
  bench.now += 1000;
  bench.opened[0]?.agent.abort();
  await until(() => bench.ends.length === 1, { what: "the end" });
  await bench.say(1001, "b");
  await bench.saw(1, "b");
  assert.deepEqual(bench.ends, ["stream_ended"]);
});

Deno.test("a draining port lets flows go on while they have traffic, and takes no new ones", async () => {
  using bench = new Bench();
  await bench.say(1001, "a");
  bench.port.drain();
  await bench.say(1002, "b");
  await bench.say(1001, "c");
  await bench.saw(0, "a", "c");
  assert.equal(bench.opened.length, 1);
  await bench.advance(DRAINING_IDLE_MS - 1);
  await bench.answer(0, encode("still here"));
  await until(() => bench.socket.sent.length === 1, { what: "the answer" });
  await bench.advance(DRAINING_IDLE_MS - 1);
  assert.deepEqual(bench.ends, []);
  await bench.advance(1);
  assert.deepEqual(bench.ends, ["idle_timeout"]);
});

Deno.test("a datagram that is longer than a frame can say is dropped", async () => {
  using bench = new Bench();
  bench.socket.deliver(new Uint8Array(65_508), 1001);
  await bench.say(1001, "a");
  await bench.saw(0, "a");
  assert.equal(bench.count("in", "too_large"), 1);
});
