import assert from "node:assert/strict";
import { type ByteStream, writeAll } from "../../../../core/byte_stream.ts";
import type { ConnectionInfo } from "../../../../core/plugin/contract.ts";
import { HttpRefusal } from "../../../../plugins/ws-agent/http/refusal.ts";
import { newConnectionId } from "../../../../plugins/ws-agent/plain/connection_id.ts";
import { DataEndpoint } from "../../../../plugins/ws-agent/plain/data_endpoint.ts";
import { DataSockets } from "../../../../plugins/ws-agent/plain/data_sockets.ts";
import { DataStream } from "../../../../plugins/ws-agent/plain/data_stream.ts";
import { PlainLink } from "../../../../plugins/ws-agent/plain/link.ts";
import type { Opening } from "../../../../plugins/ws-agent/session/agent_link.ts";
import type { Service } from "../../../../plugins/ws-agent/session/service.ts";
import { pipe } from "../../../support/pipe.ts";
import { until } from "../../../support/until.ts";
import { TestClock } from "../auth/harness.ts";

const QUIET_MS = 1000;
const CLOSE_MS = 5000;
const encode = (text: string) => new TextEncoder().encode(text);

/** A data stream, whose agent is at the other end of a pipe. */
class Bench {
  readonly clock = new TestClock("still");
  readonly stream: DataStream;
  readonly agent: ByteStream;
  /** What was done to the socket. */
  readonly done: string[] = [];
  /** A write is under way that does not get through: a close frame has to wait for it. */
  isStuck = false;

  constructor() {
    const [ours, agent] = pipe();
    this.agent = agent;
    this.stream = new DataStream({
      read: (into) => ours.read(into),
      write: (data) => ours.write(data),
      closeWrite: () => {
        this.done.push("close frame");
        return this.isStuck ? new Promise(() => {}) : Promise.resolve();
      },
      close: () => {
        this.done.push("close");
        ours.close();
      },
      abort: () => {
        this.done.push("abort");
        ours.close();
      },
    }, {
      clock: this.clock,
      received: () => {},
      sent: () => {},
      over: () => this.done.push("over"),
    });
  }
}

Deno.test("plain agents: a service is silent only while it is listened to, however slow the client is", async () => {
  const { clock, stream, agent, done } = new Bench();
  const buffer = new Uint8Array(16);
  await writeAll(agent, encode("answer"));
  await stream.closeWrite();
  for (let i = 0; i < 6; i++) {
    assert.equal(await stream.read(buffer.subarray(0, 1)), 1);
    clock.advance(2 * CLOSE_MS); // the client takes it
  }
  assert.deepEqual([done, clock.timers], [[], 0]);
  const end = stream.read(buffer);
  clock.advance(QUIET_MS - 1);
  assert.deepEqual(done, []);
  clock.advance(1);
  assert.deepEqual(done, ["close frame"]);
  await writeAll(agent, encode("more"));
  assert.equal(await end, 4);
  clock.advance(2 * CLOSE_MS);
  const last = stream.read(buffer);
  clock.advance(CLOSE_MS);
  await assert.rejects(last);
  assert.deepEqual([done, clock.timers], [["close frame", "close", "over"], 0]);
});

Deno.test("plain agents: what is read when the client ends counts from then", async () => {
  const { clock, stream, done } = new Bench();
  const end = stream.read(new Uint8Array(16));
  clock.advance(2 * QUIET_MS);
  await stream.closeWrite();
  clock.advance(QUIET_MS - 1);
  assert.deepEqual(done, []);
  clock.advance(1);
  assert.deepEqual(done, ["close frame"]);
  stream.close();
  await assert.rejects(end);
  assert.equal(clock.timers, 0);
});

Deno.test("plain agents: an agent's end gets to the client also while an upload to it is stuck", async () => {
  const bench = new Bench();
  bench.isStuck = true;
  await bench.agent.closeWrite();
  assert.equal(await bench.stream.read(new Uint8Array(16)), null);
  assert.deepEqual(bench.done, ["close frame"]);
  bench.stream.close();
});

Deno.test("plain agents: half of the bytes do not look like all of them", async () => {
  const broken = new Bench();
  broken.stream.close();
  assert.deepEqual(broken.done, ["abort", "over"]);
  const whole = new Bench();
  await whole.stream.closeWrite();
  whole.stream.close();
  assert.deepEqual(whole.done, ["close", "over"]);
  const answered = new Bench();
  await answered.agent.closeWrite();
  await answered.stream.read(new Uint8Array(16));
  answered.stream.close();
  assert.deepEqual(answered.done, ["close frame", "close", "over"]);
});

const CONNECTION: ConnectionInfo = {
  id: "c1",
  listener: "127.0.0.1:1",
  source: { address: "192.0.2.1", port: 1 },
  destination: { address: "192.0.2.2", port: 1 },
  peer: { address: "192.0.2.1", port: 1 },
  protocol: "other",
};

Deno.test("plain agents: what another data plane has refused does not stay, whoever is silent behind it", async () => {
  const clock = new TestClock("still");
  const [client, stranger] = pipe();
  const [upstream, far] = pipe();
  const plane = { node: "here", neighbours: ["there"], openOn: () => Promise.resolve(upstream) };
  const endpoint = new DataEndpoint({ sockets: new DataSockets({ node: "here", clock }), plane, clock });
  const arrival = endpoint.find({
    id: newConnectionId("there"),
    response: new Uint8Array(),
    seen: encode("GET"),
    headLength: 3,
  }, CONNECTION) ?? assert.fail("nobody has it");
  const served = endpoint.serve(arrival, client, CONNECTION, new AbortController().signal);
  await writeAll(far, encode("404"));
  far.close();
  const buffer = new Uint8Array(16);
  assert.equal(await stranger.read(buffer), 3);
  assert.equal(await stranger.read(buffer), null);
  await until(() => clock.timers === 1, { what: "the time that is left to it" });
  clock.advance(QUIET_MS);
  await served;
  assert.deepEqual([client.closed, upstream.closed, clock.timers], [true, true, 0]);
});

function linked() {
  const clock = new TestClock("still");
  const sockets = new DataSockets({ node: "here", clock });
  const told: string[] = [];
  const link = new PlainLink({
    clock,
    sockets,
    control: { close: () => {} },
    connect: ({ connectionId }) => told.push(connectionId),
    heartbeat: () => told.push("heartbeat"),
  });
  const opening: Opening = {
    service: { id: newConnectionId("service") } as Service,
    connection: CONNECTION,
    signal: new AbortController().signal,
  };
  return { link, sockets, told, opening };
}

Deno.test("plain agents: one that comes for nothing leaves room to the others", async () => {
  const { link, sockets, told, opening } = linked();
  const opened = Array.from({ length: 512 }, () => link.open(opening));
  await assert.rejects(link.open(opening), (error) => error instanceof HttpRefusal && error.status === 503);
  assert.deepEqual([sockets.size, told.length], [512, 512]);
  link.close();
  for (const { status } of await Promise.allSettled(opened)) assert.equal(status, "rejected");
  assert.equal(sockets.size, 0);
});

Deno.test("plain agents: one whose words nobody reads at the moment is there, and is not asked", async () => {
  const { link, told } = linked();
  await link.ping();
  assert.deepEqual(told, []);
  link.isHeard = true;
  const asked = link.ping();
  assert.deepEqual(told, ["heartbeat"]);
  link.heartbeatAcked();
  await asked;
  const before = link.ping();
  link.isHeard = false;
  await before;
  link.close();
});
