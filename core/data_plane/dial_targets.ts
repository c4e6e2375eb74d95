import { type ByteStream, closeQuietly } from "../byte_stream.ts";
import { GatewayError, messageOf } from "../errors.ts";
import { parseHostPort } from "../net/address.ts";
import type { Forward } from "../plugin/contract.ts";
import { ForbiddenTarget } from "./admin_guard.ts";
import type { Connection } from "./connection.ts";
import { type Client, Refusal } from "./refusal.ts";
import { type Greeting, greetUpstream } from "./upstream.ts";

/** At most this many targets of one decision are tried, so that the time a client may wait is bounded. */
const MAX_DIAL_ATTEMPTS = 4;

/** One attempt to reach an upstream; its time also covers what is said before the relay begins. */
export class DialAttempt {
  readonly controller = new AbortController();
  upstream: ByteStream | undefined;

  get expired(): boolean {
    return this.controller.signal.aborted;
  }

  expire(): void {
    this.controller.abort();
    closeQuietly(this.upstream);
  }
}

/**
 * Connects to the first target that lets itself be greeted.
 *
 * @returns The target's stream, or what lies within its TLS.
 * @throws {Refusal} None does, or one that must not be reached is among them.
 */
export async function dialAny(
  connection: Connection,
  decision: Forward,
  client: Client,
  greeting: Greeting,
): Promise<ByteStream> {
  const { record } = connection;
  const { to } = decision;
  record.state = "dialing";
  const targets = typeof to === "string" ? [to] : to.slice(0, MAX_DIAL_ATTEMPTS);
  let last: unknown;
  for (const target of targets) {
    record.target = target;
    try {
      return await dialOne(connection, target, decision, greeting);
    } catch (error) {
      if (error instanceof ForbiddenTarget) {
        throw new Refusal(client, "forbidden", `${target}: ${messageOf(error)}`);
      }
      if (record.result !== undefined) throw error; // ended from outside: there is nobody left to dial for
      last = error;
      if (connection.outOfTime) break;
    }
  }
  throw unreachable(client, record.target, last);
}

/**
 * Has a stream opened in the place of a dial, and greets it.
 *
 * @throws {Refusal} It could not be opened.
 */
export async function openByPlugin(
  connection: Connection,
  target: string,
  client: Client,
  greeting: Greeting,
  open: (signal: AbortSignal) => Promise<ByteStream> | undefined,
): Promise<ByteStream> {
  const { record } = connection;
  record.state = "dialing";
  record.target = target;
  try {
    return await attemptOne(connection, target, async (attempt) => {
      const { signal } = attempt.controller;
      const upstream = attempt.upstream = await abortable(open(signal), signal);
      if (record.result !== undefined) throw new GatewayError("dial-failed", "The client left");
      return await greetUpstream(upstream, greeting, target);
    });
  } catch (error) {
    if (record.result !== undefined) throw error;
    throw unreachable(client, target, error);
  }
}

/** A stream that comes after its time is over is closed. */
function abortable(opening: Promise<ByteStream> | undefined, signal: AbortSignal): Promise<ByteStream> {
  return new Promise((resolve, reject) => {
    const late = () => reject(new GatewayError("dial-timeout", "No stream in time"));
    signal.addEventListener("abort", late, { once: true });
    Promise.resolve(opening).then((stream) => {
      signal.removeEventListener("abort", late);
      if (stream === undefined) reject(new GatewayError("dial-failed", "No stream was opened"));
      else if (signal.aborted) closeQuietly(stream);
      else resolve(stream);
    }, (error) => {
      signal.removeEventListener("abort", late);
      reject(error);
    });
  });
}

function unreachable(client: Client, target: string | undefined, error: unknown): Refusal {
  const timedOut = error instanceof GatewayError && error.code === "dial-timeout";
  return new Refusal(
    client,
    timedOut ? "connect_timeout" : "connect_failed",
    `${target}: ${messageOf(error)}`,
  );
}

function dialOne(
  connection: Connection,
  target: string,
  { retryMs, keepOffAdmin }: Forward,
  greeting: Greeting,
): Promise<ByteStream> {
  const { record, plane } = connection;
  return attemptOne(connection, target, async (attempt) => {
    const address = parseHostPort(target, { minPort: 1 });
    const upstream = await plane.dialer.dial(address, attempt.controller.signal, {
      retryMs,
      guard: keepOffAdmin ? plane.adminGuard : undefined,
    });
    attempt.upstream = upstream;
    if (record.result !== undefined) throw new GatewayError("dial-failed", "The client left");
    upstream.setNoDelay();
    return await greetUpstream(upstream, greeting, address.host);
  });
}

/** Within the time of one attempt, and told to the plugin and the metrics. */
async function attemptOne(
  connection: Connection,
  target: string,
  reach: (attempt: DialAttempt) => Promise<ByteStream>,
): Promise<ByteStream> {
  const { record, queues, plane } = connection;
  const attempt = connection.attempt = new DialAttempt();
  const before = performance.now();
  let failure: string | undefined;
  queues.dials.add(attempt);
  try {
    return await reach(attempt);
  } catch (error) {
    failure = messageOf(error);
    const late = attempt.expired && record.result === undefined;
    attempt.expire();
    throw late ? new GatewayError("dial-timeout", "No answer in time", { cause: error }) : error;
  } finally {
    queues.dials.delete(attempt);
    if (connection.attempt === attempt && !attempt.expired) connection.attempt = undefined;
    const ms = performance.now() - before;
    if (record.plugin) plane.metrics.dialed(record.plugin.name, ms / 1000);
    connection.trace?.step("connect", before, { "postern.target": target }, failure);
    connection.tell("dialed", {
      connection: record.id,
      target,
      ms,
      ...(failure !== undefined && { failure }),
    });
  }
}
