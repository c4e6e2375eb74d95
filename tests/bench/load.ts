/** The process in front of the proxies: makes the load and measures. Raw TCP; only the first bytes are TLS. */
import { closeQuietly, writeAll } from "../../core/byte_stream.ts";
import type { Address } from "../support/processes.ts";
import { clientHello } from "./client_hello.ts";
import type { Job, Rate, Released, Results, Throughput } from "./jobs.ts";
import { readMessages, writeMessage } from "./json_lines.ts";
import { percentile } from "./statistics.ts";

const CHUNK_BYTES = 256 * 1024;
const PING_BYTES = 64;

/** Throughput counts from here: slow start and first growth of buffers are over. */
const WARM_UP_MS = 300;

/** How many connections `hold` opens at a time: fewer than any peer's accept queue. */
const HOLD_LANES = 64;

const held: { connection: Deno.TcpConn; closedByPeer: boolean }[] = [];

async function throughput(job: Job & { kind: "up" | "down" }): Promise<Throughput> {
  const hello = clientHello(job.to.serverName);
  const start = performance.now() + WARM_UP_MS;
  const end = start + job.seconds * 1000;
  let bytes = 0;
  await inParallel(job.connections, async () => {
    using connection = await open(job.to.address);
    await writeAll(connection, hello);
    const buffer = new Uint8Array(CHUNK_BYTES);
    for (let now = 0; now < end;) {
      const n = job.kind === "up" ? await connection.write(buffer) : await connection.read(buffer);
      if (n === null) throw new Error("The peer closed in mid-transfer");
      now = performance.now();
      if (now >= start && now < end) bytes += n;
    }
  });
  return { bytesPerSecond: bytes / job.seconds };
}

async function connectRate(job: Job & { kind: "connect" }): Promise<Rate> {
  const hello = clientHello(job.to.serverName);
  const times: number[] = [];
  const end = performance.now() + job.seconds * 1000;
  await inParallel(job.parallel, async () => {
    const buffer = new Uint8Array(hello.length);
    while (performance.now() < end) times.push(await connectOnce(job.to.address, hello, buffer));
  });
  return rate(times, job.seconds);
}

async function alternate(job: Job & { kind: "alternate" }): Promise<Rate[]> {
  const lanes = job.to.map((target) => ({
    target,
    hello: clientHello(target.serverName),
    times: [] as number[],
  }));
  const buffer = new Uint8Array(1024);
  const end = performance.now() + job.seconds * 1000;
  while (performance.now() < end) {
    for (const { target, hello, times } of lanes) {
      times.push(await connectOnce(target.address, hello, buffer));
    }
  }
  return lanes.map(({ times }) => rate(times, job.seconds));
}

/** Milliseconds from before the connect to the whole answer. */
async function connectOnce(address: Address, hello: Uint8Array, buffer: Uint8Array): Promise<number> {
  const begun = performance.now();
  const connection = await open(address);
  try {
    await writeAll(connection, hello);
    await readExactly(connection, buffer, hello.length);
    return performance.now() - begun;
  } finally {
    closeQuietly(connection);
  }
}

async function roundTrips(job: Job & { kind: "rtt" }): Promise<Rate> {
  const hello = clientHello(job.to.serverName);
  const times: number[] = [];
  const end = performance.now() + job.seconds * 1000;
  await inParallel(job.connections, async () => {
    using connection = await open(job.to.address);
    const buffer = new Uint8Array(hello.length);
    await writeAll(connection, hello);
    await readExactly(connection, buffer, hello.length);
    const ping = new Uint8Array(PING_BYTES);
    for (let begun = performance.now(); begun < end;) {
      await writeAll(connection, ping);
      await readExactly(connection, buffer, PING_BYTES);
      const now = performance.now();
      times.push(now - begun);
      begun = now;
    }
  });
  return rate(times, job.seconds);
}

async function hold(job: Job & { kind: "hold" }): Promise<Record<string, never>> {
  const hello = clientHello(job.to.serverName);
  const buffer = new Uint8Array(hello.length);
  let left = job.connections;
  await inParallel(HOLD_LANES, async () => {
    while (left-- > 0) {
      const connection = await open(job.to.address);
      if (job.how === "relayed") {
        await writeAll(connection, hello);
        await readExactly(connection, buffer, hello.length);
      }
      const entry = { connection, closedByPeer: false };
      held.push(entry);
      const ended = () => {
        entry.closedByPeer = true;
      };
      connection.read(new Uint8Array(1)).then(ended, ended);
    }
  });
  return {};
}

function release(): Released {
  const closedByPeer = held.filter((entry) => entry.closedByPeer).length;
  const alive = held.length - closedByPeer;
  for (const { connection } of held.splice(0)) closeQuietly(connection);
  return { alive, closedByPeer };
}

async function open(address: Address): Promise<Deno.TcpConn> {
  const connection = await Deno.connect({ hostname: address.hostname, port: address.port });
  connection.setNoDelay(true);
  return connection;
}

async function readExactly(connection: Deno.TcpConn, buffer: Uint8Array, length: number): Promise<void> {
  for (let got = 0; got < length;) {
    const n = await connection.read(got === 0 ? buffer : buffer.subarray(0, length - got));
    if (n === null) throw new Error("The peer closed before the whole answer");
    got += n;
  }
}

async function inParallel(lanes: number, work: () => Promise<void>): Promise<void> {
  await Promise.all(Array.from({ length: lanes }, work));
}

function rate(timesMs: readonly number[], seconds: number): Rate {
  const sorted = Float64Array.from(timesMs).sort();
  return {
    perSecond: sorted.length / seconds,
    p50Us: percentile(sorted, 0.5) * 1000,
    p99Us: percentile(sorted, 0.99) * 1000,
  };
}

function perform(job: Job): Results[Job["kind"]] | Promise<Results[Job["kind"]]> {
  switch (job.kind) {
    case "up":
    case "down":
      return throughput(job as Job & { kind: "up" | "down" });
    case "connect":
      return connectRate(job);
    case "alternate":
      return alternate(job);
    case "rtt":
      return roundTrips(job);
    case "hold":
      return hold(job);
    case "release":
      return release();
  }
}

for await (const job of readMessages<Job>()) {
  try {
    await writeMessage({ result: await perform(job) });
  } catch (error) {
    await writeMessage({ error: `${error}` });
  }
}
Deno.exit(0);
