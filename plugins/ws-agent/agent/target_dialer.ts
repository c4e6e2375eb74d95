import {
  type ByteStream,
  closeQuietly,
  GatewayError,
  messageOf,
  writeAll,
} from "../../../core/plugin/mod.ts";
import { connectTls } from "../../../core/tls/connect.ts";
import type { AgentNetwork, NetworkStream } from "./network.ts";
import { isLoopback, isSensitive, knownHosts, type Target } from "./target.ts";
import { trusting } from "./trust.ts";

/** How long a name's addresses are believed. */
const NAME_TTL_MS = 10_000;
const MAX_NAMES = 1024;

interface CachedName {
  readonly addresses: Promise<readonly string[]>;
  readonly until: number;
}

/** Connects to the agent's own targets, and to nothing that is named from outside. */
export class TargetDialer {
  readonly #network: AgentNetwork;
  readonly #now: () => number;
  readonly #extraCa: () => string | undefined;
  readonly #names = new Map<string, CachedName>();

  constructor(
    network: AgentNetwork,
    { now, extraCa }: { readonly now: () => number; readonly extraCa: () => string | undefined },
  ) {
    this.#network = network;
    this.#now = now;
    this.#extraCa = extraCa;
  }

  /**
   * @param preamble Sent before anything else, TLS too: a PROXY header.
   * @throws {GatewayError} `dial-failed`, with a reason for the agent's operator; `dial-timeout` when `signal` was aborted.
   */
  async dial(target: Target, signal: AbortSignal, preamble?: Uint8Array): Promise<ByteStream> {
    try {
      const stream = await this.#connect(target, signal);
      if (preamble !== undefined) await sendFirst(stream, preamble);
      return target.tls ? await this.#secure(stream, target, signal) : stream;
    } catch (error) {
      if (signal.aborted) throw new GatewayError("dial-timeout", "No answer in time", { cause: error });
      if (error instanceof GatewayError) throw error;
      throw new GatewayError("dial-failed", describe(error), { cause: error });
    }
  }

  /**
   * The address that datagrams for a target go to. Of `localhost` it is that of IPv4: nobody says whether the other one would be heard.
   *
   * @throws {GatewayError} As {@link dial}.
   */
  async addressOf(target: Target, signal: AbortSignal): Promise<string> {
    const [known] = knownHosts(target) ?? [];
    if (known !== undefined) return known;
    try {
      const addresses = await orAborted(this.#addressesOf(target.host), signal);
      const bad = addresses.find(isSensitive);
      if (bad !== undefined) throw sensitive(target.host, bad);
      const [first] = addresses;
      if (first === undefined) throw new TypeError(`"${target.host}" has no address`);
      return first;
    } catch (error) {
      if (signal.aborted) throw new GatewayError("dial-timeout", "No answer in time", { cause: error });
      if (error instanceof GatewayError) throw error;
      throw new GatewayError("dial-failed", describe(error), { cause: error });
    }
  }

  async #connect(target: Target, signal: AbortSignal): Promise<NetworkStream> {
    const { host, port } = target;
    const hosts = knownHosts(target);
    if (hosts === undefined) return await this.#connectByName(target, signal);
    let failure: unknown;
    for (const one of hosts) {
      try {
        return await this.#network.connect({ host: one, port }, signal);
      } catch (error) {
        failure ??= error; // that of the first says more: the second is tried in case a service listens only there
        if (signal.aborted) break;
      }
    }
    throw failure ?? new TypeError(`"${host}" has no address`);
  }

  /** The look-up and the connection may see different addresses: both are checked, and nothing is sent in between. */
  async #connectByName({ host, port }: Target, signal: AbortSignal): Promise<NetworkStream> {
    const addresses = await orAborted(this.#addressesOf(host), signal);
    const bad = addresses.find(isSensitive);
    if (bad !== undefined) throw sensitive(host, bad);
    const stream = await this.#network.connect({ host, port }, signal);
    if (!isSensitive(stream.remoteAddress)) return stream;
    closeQuietly(stream);
    throw sensitive(host, stream.remoteAddress);
  }

  #addressesOf(name: string): Promise<readonly string[]> {
    const now = this.#now();
    const known = this.#names.get(name);
    if (known !== undefined && known.until > now) return known.addresses;
    const addresses = this.#network.lookUp(name);
    addresses.catch(() => this.#names.delete(name)); // a failure is not remembered
    if (this.#names.size >= MAX_NAMES) this.#names.clear();
    this.#names.set(name, { addresses, until: now + NAME_TTL_MS });
    return addresses;
  }

  /** A certificate proves nothing about what nobody can get in between of; those of services for developers are self-signed. */
  async #secure(stream: NetworkStream, target: Target, signal: AbortSignal): Promise<ByteStream> {
    const end = () => closeQuietly(stream);
    signal.addEventListener("abort", end);
    if (signal.aborted) end();
    try {
      return await connectTls(stream, {
        host: target.host,
        insecure: isLoopback(target),
        ...trusting(this.#extraCa()),
        alpn: ["http/1.1"],
        peer: "target",
      });
    } finally {
      signal.removeEventListener("abort", end);
    }
  }
}

async function sendFirst(stream: ByteStream, bytes: Uint8Array): Promise<void> {
  try {
    await writeAll(stream, bytes); // a new socket has room for it
  } catch (error) {
    closeQuietly(stream);
    throw error;
  }
}

function sensitive(host: string, address: string): GatewayError {
  return new GatewayError(
    "dial-failed",
    `"${host}" leads to ${address}, a link-local or metadata address; such a target is written as an address`,
  );
}

function describe(error: unknown): string {
  if (error instanceof Deno.errors.ConnectionRefused) return "Nothing listens there";
  if (error instanceof Deno.errors.NotCapable) return "Not among the targets that this agent may connect to";
  return messageOf(error);
}

/** Settles as `promise` does, or rejects once aborted: a look-up can't be called off. */
function orAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const abort = () => reject(signal.reason);
    if (signal.aborted) {
      promise.catch(() => {});
      return abort();
    }
    signal.addEventListener("abort", abort, { once: true });
    promise.finally(() => signal.removeEventListener("abort", abort)).then(resolve, reject);
  });
}
