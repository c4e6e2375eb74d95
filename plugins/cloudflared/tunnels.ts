import type { Log } from "../../core/plugin/mod.ts";
import type { CloudflaredConfig } from "./config.ts";
import { Counters } from "./counters.ts";
import { describeFailure, type Failure } from "./failure.ts";
import { createMasker } from "./mask.ts";
import { PortPool } from "./port_pool.ts";
import { type Launch, notGranted, type Session } from "./session.ts";
import type { Tools } from "./tools.ts";
import { Tunnel, type TunnelHost, type TunnelSettings } from "./tunnel.ts";

/** So many host names that failed are remembered: with `names: ["*"]`, strangers make them up. */
const MAX_RESTING = 1000;

/**
 * How long the gateway is not ready after the program could not be started, in milliseconds. Not for ever: behind a
 * balancer that goes by this no client would come any more to find out that the program is back.
 */
const UNSTARTABLE_MS = 30_000;

/** All tunnels by host name, and what they share: ports, counters, the word to stop. */
export class Tunnels implements TunnelHost, AsyncDisposable {
  readonly tools: Tools;
  readonly log: Log;
  readonly counters = new Counters();
  isSilent = false;
  readonly #tunnels = new Map<string, Tunnel>();
  /** Those that were given up for a new config, until their last connection has ended. */
  readonly #leaving = new Set<Tunnel>();
  /** Those that only remember a failure, the oldest first. */
  readonly #resting = new Set<Tunnel>();
  /** Every process that has not ended. */
  readonly #sessions = new Set<Session>();
  readonly #ports: PortPool;
  #settings: TunnelSettings;
  #launch: Launch;
  #disposed = false;
  #programFailure: Failure | undefined;
  /** When that is to be forgotten, on the clock of the tools. */
  #forgetAt = Infinity;

  constructor(config: CloudflaredConfig, log: Log, tools: Tools) {
    this.tools = tools;
    this.log = log;
    this.#settings = config;
    this.#launch = launchOf(config);
    this.#ports = new PortPool(config.ports, tools.isFree, tools.now, tools.random());
    this.#lookForProgram();
  }

  /** Why the program could not be started when it last was, or would be now, for any tunnel at all. */
  get programFailure(): Failure | undefined {
    return this.tools.now() < this.#forgetAt ? this.#programFailure : undefined;
  }

  get settings(): TunnelSettings {
    return this.#settings;
  }

  /** Every tunnel that there is, those that are being given up last. */
  get all(): readonly Tunnel[] {
    return [...this.#tunnels.values(), ...this.#leaving];
  }

  get sessions(): ReadonlySet<Session> {
    return this.#sessions;
  }

  /** The tunnel to a host name, made when there is none. It has no process until somebody needs it. */
  get(hostname: string, serverName: string): Tunnel {
    let tunnel = this.#tunnels.get(hostname);
    if (tunnel === undefined) {
      tunnel = new Tunnel(hostname, serverName, this.#launch, this);
      if (this.#disposed) {
        void tunnel.dispose(); // which there is nothing to wait for
        return tunnel;
      }
      this.#tunnels.set(hostname, tunnel);
    }
    this.#resting.delete(tunnel);
    return tunnel;
  }

  /**
   * Takes a new config. Tunnels that it would start in another way, or for another host name, get no new connections.
   *
   * @param stays Whether the host name of a tunnel is still the one for its server name.
   */
  reload(config: CloudflaredConfig, stays: (tunnel: Tunnel) => boolean): void {
    this.#settings = config;
    this.#ports.resize(config.ports);
    const launch = launchOf(config);
    const isSame = sameLaunch(launch, this.#launch);
    if (!isSame) {
      this.#launch = launch;
      this.isSilent = false;
      this.#lookForProgram();
    }
    for (const [hostname, tunnel] of [...this.#tunnels]) {
      if (isSame && stays(tunnel)) continue;
      this.#tunnels.delete(hostname);
      this.#resting.delete(tunnel);
      this.#leaving.add(tunnel);
      tunnel.leave();
    }
  }

  async takePort(hostname: string): Promise<number | undefined> {
    const port = this.#ports.take(hostname);
    if (port !== undefined) return port;
    const idlest = this.#idlest();
    if (idlest) await idlest.evict();
    else await this.#nextToStop();
    return this.#ports.take(hostname);
  }

  giveBackPort(port: number, hostname?: string): void {
    this.#ports.giveBack(port, hostname);
  }

  setPortAside(port: number): void {
    this.#ports.setAside(port);
  }

  unstartable(failure: Failure): void {
    this.#programFailure = failure;
    this.#forgetAt = this.tools.now() + UNSTARTABLE_MS;
  }

  began(session: Session): void {
    this.#programFailure = undefined;
    this.#sessions.add(session);
    session.ended.then(() => this.#sessions.delete(session));
  }

  rests(tunnel: Tunnel): void {
    if (this.#leaving.delete(tunnel)) return;
    if (this.#tunnels.get(tunnel.hostname) !== tunnel) return;
    if (!tunnel.isFailing) return void this.#tunnels.delete(tunnel.hostname);
    this.#resting.delete(tunnel);
    this.#resting.add(tunnel);
    const [oldest] = this.#resting;
    if (this.#resting.size <= MAX_RESTING || oldest === undefined) return;
    this.#resting.delete(oldest);
    this.#tunnels.delete(oldest.hostname);
  }

  /** Stops every process. Resolves when all have ended. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#disposed = true;
    await Promise.all(this.all.map((tunnel) => tunnel.dispose()));
    await Promise.all([...this.#sessions].map((session) => session.stop()));
  }

  /**
   * The process that nobody has used for the longest time. Those that have never worked go first: else strangers with
   * names that they make up would drive out the tunnels that are needed.
   */
  #idlest(): Tunnel | undefined {
    let [idlest, idlestOfUse]: (Tunnel | undefined)[] = [];
    for (const tunnel of this.#tunnels.values()) {
      if (tunnel.idleSince === undefined) continue;
      if (tunnel.hasWorked) idlestOfUse = longerIdle(tunnel, idlestOfUse);
      else idlest = longerIdle(tunnel, idlest);
    }
    return idlest ?? idlestOfUse;
  }

  /** So that a missing program is told at the start, and not only to the first client. */
  #lookForProgram(): void {
    const { command } = this.#launch;
    this.#programFailure = this.tools.mayRun(command) ? undefined : notGranted(command);
    this.#forgetAt = Infinity; // what is not granted now is not before a restart
    if (this.#programFailure === undefined) return;
    const { reason } = this.#programFailure;
    this.log.error("cloudflared_failed", { cause: reason, reason: describeFailure(this.#programFailure) });
  }

  /** A process that was told to stop still has its port, for 2 s at most. */
  async #nextToStop(): Promise<void> {
    const stopping = [...this.#sessions].filter(({ state }) => state === "stopping");
    if (stopping.length > 0) await Promise.race(stopping.map(({ ended }) => ended));
  }
}

function longerIdle(one: Tunnel, other: Tunnel | undefined): Tunnel {
  return (other?.idleSince ?? Infinity) <= (one.idleSince ?? Infinity) ? other ?? one : one;
}

function launchOf({ command, serviceToken }: CloudflaredConfig): Launch {
  const secrets = serviceToken ? [serviceToken.id, serviceToken.secret] : [];
  return { command, masker: createMasker(secrets), ...(serviceToken && { token: serviceToken }) };
}

function sameLaunch(a: Launch, b: Launch): boolean {
  return a.command === b.command && a.token?.id === b.token?.id && a.token?.secret === b.token?.secret;
}
