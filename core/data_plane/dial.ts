import { delay } from "../delay.ts";
import { lookup } from "node:dns/promises";
import { GatewayError, messageOf } from "../errors.ts";
import { type HostPort, isAddress } from "../net/address.ts";
import { type AdminGuard, ForbiddenTarget } from "./admin_guard.ts";

/**
 * How long a name's addresses are believed, in milliseconds. The system's resolver does not tell their TTL; ten
 * seconds follows a failover soon and saves a look-up for nearly every connection (measured: dialing a name each
 * time costs a third of the connection rate).
 */
const NAME_TTL_MS = 10_000;
/** Names come from the operator's config or database, yet the table stays bounded. */
const MAX_NAMES = 4096;
/** How long one address may stay silent before the next is tried beside it (RFC 8305 §5). */
const STAGGER_MS = 250;
/**
 * The pauses between two attempts at a target that refuses. A program that is just starting is there a few
 * milliseconds after it listens; one that takes seconds is asked forty times in each.
 */
const FIRST_RETRY_MS = 5, LONGEST_RETRY_MS = 25;

interface CachedName {
  readonly addresses: Promise<readonly string[]>;
  readonly until: number;
}

export interface DialOptions {
  /** As long as the target refuses, it is tried again, for so many milliseconds. @default 0 */
  readonly retryMs?: number | undefined;
  /** What must not be connected to. */
  readonly guard?: AdminGuard | undefined;
}

/** Opens TCP connections to upstreams, by address or by name. */
export class Dialer {
  readonly #names = new Map<string, CachedName>();
  readonly #lookUp: (name: string) => Promise<readonly string[]>;

  /** @param lookUp A name's addresses, best first. @default what the system's resolver says */
  constructor(lookUp: (name: string) => Promise<readonly string[]> = lookUpInSystem) {
    this.#lookUp = lookUp;
  }

  /**
   * @param signal Aborts the attempt; its reason decides between the two fault codes.
   * @throws {GatewayError} `dial-timeout` when `signal` was aborted, else `dial-failed`.
   * @throws {ForbiddenTarget} By the guard.
   */
  async dial(
    target: HostPort,
    signal: AbortSignal,
    { retryMs = 0, guard }: DialOptions = {},
  ): Promise<Deno.TcpConn> {
    const end = retryMs > 0 ? performance.now() + retryMs : 0;
    for (let pause = FIRST_RETRY_MS;; pause = Math.min(pause + FIRST_RETRY_MS, LONGEST_RETRY_MS)) {
      try {
        if (guard) return checked(await this.#dialGuarded(target, signal, guard), guard);
        if (isAddress(target.host)) return await connect(target.host, target.port, signal);
        return await connectAny(await this.#addressesOf(target.host, signal), target.port, signal);
      } catch (error) {
        if (error instanceof ForbiddenTarget) throw error;
        const isRefused = error instanceof Deno.errors.ConnectionRefused && !signal.aborted;
        if (!isRefused || performance.now() + pause > end) throw faultOf(error, signal);
      }
      await delay(pause, signal);
    }
  }

  async #dialGuarded(
    { host, port }: HostPort,
    signal: AbortSignal,
    guard: AdminGuard,
  ): Promise<Deno.TcpConn> {
    const addresses = isAddress(host) ? [host] : await this.#addressesOf(host, signal);
    for (const address of addresses) guard.check(address, port);
    return await connectAny(addresses, port, signal);
  }

  #addressesOf(name: string, signal: AbortSignal): Promise<readonly string[]> {
    return orAborted(this.#resolve(name), signal);
  }

  #resolve(name: string): Promise<readonly string[]> {
    const now = performance.now();
    const known = this.#names.get(name);
    if (known !== undefined && known.until > now) return known.addresses;
    const addresses = this.#lookUp(name);
    addresses.catch(() => this.#names.delete(name)); // a failure is not remembered
    if (this.#names.size >= MAX_NAMES) this.#names.clear();
    this.#names.set(name, { addresses, until: now + NAME_TTL_MS });
    return addresses;
  }
}

function checked(conn: Deno.TcpConn, guard: AdminGuard): Deno.TcpConn {
  try {
    guard.checkConnected(conn);
    return conn;
  } catch (error) {
    conn.close();
    throw error;
  }
}

function faultOf(error: unknown, { aborted }: AbortSignal): GatewayError {
  const code = aborted ? "dial-timeout" : "dial-failed";
  return new GatewayError(code, aborted ? "No answer in time" : messageOf(error), { cause: error });
}

async function lookUpInSystem(name: string): Promise<readonly string[]> {
  const found = await lookup(name, { all: true, verbatim: true });
  return found.map(({ address }) => address);
}

/** Settles as `promise` does, or rejects once aborted: the system's resolver takes its time, and cannot be called off. */
function orAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const abort = () => reject(signal.reason);
    if (signal.aborted) return abort();
    signal.addEventListener("abort", abort, { once: true });
    promise.finally(() => signal.removeEventListener("abort", abort)).then(resolve, reject);
  });
}

/** @throws {Deno.errors.ConnectionRefused} Also when nobody listens and the connection has met itself. */
async function connect(hostname: string, port: number, signal: AbortSignal): Promise<Deno.TcpConn> {
  const conn = await Deno.connect({ hostname, port, signal });
  if (!isSelfConnected(conn)) return conn;
  conn.close();
  throw new Deno.errors.ConnectionRefused("Connection refused");
}

/**
 * Whether both ends are the same (TCP's simultaneous open, RFC 9293 §3.5): the system chose the very port that was
 * dialed for our end, as it may where targets on this machine have ports from its ephemeral range.
 */
function isSelfConnected(
  { localAddr, remoteAddr }: Pick<Deno.TcpConn, "localAddr" | "remoteAddr">,
): boolean {
  return localAddr.port === remoteAddr.port && localAddr.hostname === remoteAddr.hostname;
}

/** Tries the addresses in order, each a little later than the one before, until one connects (RFC 8305). */
async function connectAny(
  addresses: readonly string[],
  port: number,
  signal: AbortSignal,
): Promise<Deno.TcpConn> {
  if (addresses.length === 1) return await connect(addresses[0]!, port, signal);
  const others = new AbortController();
  const either = AbortSignal.any([signal, others.signal]);
  const attempts: Promise<Deno.TcpConn>[] = [];
  let turn: Promise<unknown> = Promise.resolve();
  for (const address of addresses) {
    const attempt = turn.then(() => connect(address, port, either));
    attempts.push(attempt);
    const failed = attempt.then(() => new Promise(() => {}), () => {});
    turn = Promise.race([failed, turn.then(() => delay(STAGGER_MS, either))]);
  }
  try {
    const won = await Promise.any(attempts);
    for (const attempt of attempts) attempt.then((conn) => conn !== won && conn.close(), () => {});
    return won;
  } catch (error) {
    throw error instanceof AggregateError ? error.errors[0] : error;
  } finally {
    others.abort();
  }
}
