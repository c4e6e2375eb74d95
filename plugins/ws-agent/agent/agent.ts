import { isDeepStrictEqual } from "node:util";
import { type Clock, SYSTEM_CLOCK } from "../clock.ts";
import type { ByteStream } from "../../../core/plugin/mod.ts";
import type { StreamHeader } from "../stream_header.ts";
import type { ServiceRegistered } from "../control/messages.ts";
import { pause } from "./backoff.ts";
import type { Refused } from "./control_channel.ts";
import type { AgentEnd, AgentEvent, AgentStatus } from "./events.ts";
import type { AcceptConnection } from "./in_process/admission.ts";
import { formatGateway } from "./gateway_address.ts";
import { Line } from "./line.ts";
import { type GatewayLink, LINK_TIMES, type LinkTimes, openLink } from "./link.ts";
import { type AgentNetwork, systemNetwork } from "./network.ts";
import { proxyHeader } from "./public_connection.ts";
import { type InspectStream, PublicStreams, STREAM_TIMES, type StreamTimes } from "./public_streams.ts";
import type { AgentService, AgentSettings } from "./settings.ts";
import { formatTarget } from "./target.ts";
import { TargetDialer } from "./target_dialer.ts";

export interface AgentOptions {
  /** Told of everything that happens, in order. Must not throw. */
  readonly onEvent?: ((event: AgentEvent) => void) | undefined;
  /** Whether HTTP requests are watched as they go by, for `request` events. Costs nothing when not. @default false */
  readonly watchRequests?: boolean | undefined;
  /** Looks at the whole of what goes to the targets of http services and comes from them. Costs nothing when absent. */
  readonly inspect?: InspectStream | undefined;
  /** Whether a public connection is served at all. @default every one is */
  readonly accept?: AcceptConnection | undefined;
  /** What it has of the network. @default the machine's */
  readonly network?: AgentNetwork | undefined;
  /** When this agent was started, milliseconds since 1970: a later one of the same name takes over. @default now */
  readonly epoch?: number | undefined;
  readonly clock?: Clock | undefined;
  /** From 0 to 1, 1 excluded. @default Math.random */
  readonly random?: (() => number) | undefined;
  readonly linkTimes?: Partial<LinkTimes> | undefined;
  readonly streamTimes?: Partial<StreamTimes> | undefined;
}

/** How long a connection that was replaced may go on for the streams that it has. */
const RETIRE_MS = 60_000;
/** How often it is looked whether they have ended. */
const LOOK_MS = 100;
/** How long a gateway is waited for that may not be there any more. */
const SOON_MS = 500;
/** How long a new connection may take to have every service answered for, before the one that it replaces serves no more. */
const TAKE_OVER_MS = 10_000;

/**
 * Exposes local services through a gateway: keeps its connections up, registers the services, and brings each public connection to the
 * service's own target.
 */
export class Agent implements AsyncDisposable {
  /** Settles when it has stopped, or trying makes no sense any more; all is released then. Never rejects. */
  readonly ended: Promise<AgentEnd>;
  readonly #options: AgentOptions;
  readonly #network: AgentNetwork;
  readonly #clock: Clock;
  readonly #random: () => number;
  readonly #epoch: number;
  readonly #dialer: TargetDialer;
  readonly #streams: PublicStreams;
  #settings: AgentSettings;
  /** Each with what ends when it has stopped. */
  readonly #lines = new Map<Line, Promise<void>>();
  /** Connections that stand, and that end as soon as their streams have. */
  readonly #links = new Set<GatewayLink>();
  /** What was told last of each service, by its name. */
  readonly #told = new Map<string, string>();
  readonly #settle: (end: AgentEnd) => void;
  /** Ends what waits for streams to end. */
  readonly #closing = new AbortController();
  #stopping: Promise<void> | undefined;

  constructor(settings: AgentSettings, options: AgentOptions = {}) {
    this.#settings = settings;
    this.#options = options;
    this.#network = options.network ?? systemNetwork();
    this.#clock = options.clock ?? SYSTEM_CLOCK;
    this.#random = options.random ?? Math.random;
    this.#epoch = options.epoch ?? Date.now();
    const now = () => this.#clock.monotonic();
    this.#dialer = new TargetDialer(this.#network, { now, extraCa: () => this.#settings.tls.extraCa });
    this.#streams = new PublicStreams({
      dialer: this.#dialer,
      network: this.#network,
      times: { ...STREAM_TIMES, ...options.streamTimes },
      now,
      emit: (event) => this.#emit(event),
      watchRequests: () => options.watchRequests === true,
      inspect: options.inspect,
      accept: options.accept,
    });
    const { promise, resolve } = Promise.withResolvers<AgentEnd>();
    this.ended = promise;
    this.#settle = resolve;
  }

  /** Connects, and stays so. Call it once; does nothing for an agent that was stopped before. */
  start(): void {
    if (this.#stopping) return;
    this.#setLines(this.#settings.connections);
  }

  /** How it is now. */
  get status(): AgentStatus {
    const links = [...this.#links];
    const sum = (of: (link: GatewayLink) => number) => links.reduce((total, link) => total + of(link), 0);
    const roundTripMs = links.find(({ session }) => session.roundTripMs !== undefined)?.session.roundTripMs;
    return {
      connected: [...this.#lines.keys()].filter(({ link }) => link !== undefined).length,
      connections: this.#settings.connections,
      ...(roundTripMs !== undefined && { roundTripMs }),
      streams: sum((link) => link.streams),
      streamsTotal: this.#streams.total,
      bytesIn: sum(({ session }) => session.bytesRead),
      bytesOut: sum(({ session }) => session.bytesWritten),
    };
  }

  /**
   * Connects to a service's target as for a public connection with this header. The caller closes it.
   *
   * @throws {GatewayError} As `TargetDialer.dial`.
   */
  dialTarget(service: AgentService, header: StreamHeader, signal: AbortSignal): Promise<ByteStream> {
    return this.#dialer.dial(service.target, signal, proxyHeader(service, header));
  }

  /**
   * Goes on with other settings. Services that stay are not touched, and neither are their connections; another gateway, or another
   * proof for it, makes all connections anew.
   */
  update(settings: AgentSettings): void {
    if (this.#stopping) return;
    const before = this.#settings;
    this.#settings = settings;
    const names = new Set(settings.services.map(({ name }) => name));
    for (const { name } of before.services) {
      if (names.has(name)) continue;
      this.#told.delete(name);
      this.#emit({ kind: "withdrawn", service: name });
    }
    if (!isDeepStrictEqual(identityOf(before), identityOf(settings))) this.#reconnect();
    for (const link of this.#links) if (!link.leaving) void link.registrations.use(settings.services);
    this.#setLines(settings.connections);
  }

  /**
   * Gives the names back, lets public connections finish for `graceMs`, and ends the rest.
   *
   * @returns Whether all of them had finished.
   */
  async stop(graceMs = 0): Promise<boolean> {
    let finished = true;
    this.#stopping ??= (async () => {
      for (const line of this.#lines.keys()) line.stop();
      const drained = await Promise.all([...this.#links].map((link) => this.#drain(link, graceMs)));
      finished = drained.every((one) => one);
      await this.#close({ kind: "stopped" });
    })();
    await this.#stopping;
    return finished;
  }

  /** Ends at once what {@link stop} still waits for. */
  stopNow(): void {
    this.#closing.abort();
    void this.stop();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.stopNow();
    await this.ended;
  }

  #emit(event: AgentEvent): void {
    this.#options.onEvent?.(event);
  }

  #setLines(count: number): void {
    const lines = [...this.#lines.keys()];
    for (const line of lines.slice(count)) this.#dropLine(line);
    for (let index = lines.length; index < count; index++) this.#addLine(index);
  }

  #addLine(index: number): void {
    const settings = () => this.#settings;
    const line: Line = new Line({
      index,
      reconnect: { // as it is by then
        get minMs() {
          return settings().reconnect.minMs;
        },
        get maxMs() {
          return settings().reconnect.maxMs;
        },
      },
      clock: this.#clock,
      random: this.#random,
      open: (slot, signal) => this.#open(slot, signal),
      freeSlot: () => this.#freeSlot(),
      connected: (_, link, before) => this.#connected(index, link, before),
      replacing: (connection, reason) => this.#emit({ kind: "replacing", connection, reason }),
      disconnected: (connection, reason, wasConnected, retryMs) =>
        this.#emit({ kind: "disconnected", connection, reason, wasConnected, retryMs }),
      lost: (reason) => this.#lose(reason),
    });
    this.#lines.set(line, Promise.resolve());
    this.#lines.set(line, line.run());
  }

  /** The gateway is told first, so that it opens nothing more on it. */
  #dropLine(line: Line): void {
    this.#lines.delete(line);
    line.stop();
    for (const link of [line.link, line.retiring]) if (link) void this.#drain(link, RETIRE_MS);
  }

  /** Everything anew; what goes over the old connections ends. */
  #reconnect(): void {
    for (const line of [...this.#lines.keys()]) {
      this.#lines.delete(line);
      line.stop();
    }
    for (const link of [...this.#links]) {
      void this.#drain(link, 0);
    }
  }

  #freeSlot(): number {
    const taken = new Set([...this.#links].map(({ slot }) => slot));
    for (const line of this.#lines.keys()) if (line.slot >= 0) taken.add(line.slot);
    for (let slot = 0;; slot++) if (!taken.has(slot)) return slot;
  }

  #open(slot: number, signal: AbortSignal): Promise<GatewayLink> {
    return openLink({
      settings: this.#settings,
      slot,
      epoch: this.#epoch,
      network: this.#network,
      clock: this.#clock,
      random: this.#random,
      times: { ...LINK_TIMES, ...this.#options.linkTimes },
      events: {
        registered: (service, answer) => this.#registered(service, answer),
        refused: (service, refusal, retryMs) => this.#refused(service, refusal, retryMs),
      },
      serve: (stream, link) => this.#streams.serve(stream, link.registrations),
      signal,
    });
  }

  #connected(connection: number, link: GatewayLink, before: GatewayLink | undefined): void {
    this.#links.add(link);
    void link.ended.then(() => this.#links.delete(link));
    this.#emit({ kind: "connected", connection, gateway: formatGateway(this.#settings.gateway) });
    const registered = link.registrations.use(this.#settings.services);
    // Only now that the new one serves them, too.
    if (before) void this.#within(TAKE_OVER_MS, registered).then(() => this.#drain(before, RETIRE_MS));
  }

  /** Gives up what it serves, and ends it when those that it has are over, or time is. @returns Whether they were. */
  async #drain(link: GatewayLink, ms: number): Promise<boolean> {
    link.leaving = true;
    link.registrations.withdrawAll();
    const end = this.#clock.monotonic() + ms;
    // What the gateway had opened before it heard of this is here when it answers.
    if (ms > 0) await this.#within(SOON_MS, link.session.ping());
    while (link.streams > 0 && this.#links.has(link) && !this.#closing.signal.aborted) {
      const left = end - this.#clock.monotonic();
      if (left <= 0) break;
      await pause(this.#clock, Math.min(left, LOOK_MS), this.#closing.signal);
    }
    const finished = link.streams === 0;
    // The gateway ends it when it has all that was sent before; ending it here would cut that off.
    void link.control.disconnect("The agent is leaving");
    await this.#within(SOON_MS, link.ended);
    link.close("The agent has ended it");
    await link.ended;
    return finished;
  }

  /** Waits for something that the gateway may never do, but not for longer. Never rejects. */
  async #within(ms: number, event: Promise<unknown>): Promise<void> {
    const over = new AbortController();
    event.catch(() => {}).finally(() => over.abort());
    await pause(this.#clock, ms, over.signal);
  }

  /** By a line, which ends with it. */
  #lose(reason: string): void {
    if (this.#stopping) return;
    for (const line of this.#lines.keys()) line.stop();
    this.#stopping = this.#close({ kind: "lost", reason });
  }

  async #close(end: AgentEnd): Promise<void> {
    this.#closing.abort();
    for (const link of this.#links) link.close("The agent is stopping");
    await Promise.all([...this.#links].map(({ ended }) => ended));
    await Promise.all(this.#lines.values());
    this.#streams.close();
    this.#settle(end);
  }

  #registered(service: AgentService, { url, remotePort }: ServiceRegistered): void {
    const target = formatTarget(service.target);
    this.#tell(service.name, JSON.stringify([url, remotePort, target]), {
      kind: "public",
      service: service.name,
      protocol: service.protocol,
      url,
      target,
      ...(remotePort !== undefined && { remotePort }),
    });
  }

  #refused({ name }: AgentService, { reason: { word, text }, course }: Refused, retryMs: number): void {
    this.#tell(name, JSON.stringify([word, text]), {
      kind: "refused",
      service: name,
      ...(word !== undefined && { word }),
      reason: text,
      isFinal: course === "final",
      retryMs,
    });
  }

  /** Each of the parallel connections finds the same; it is told once. */
  #tell(service: string, what: string, event: AgentEvent): void {
    if (this.#told.get(service) === what) return;
    this.#told.set(service, what);
    this.#emit(event);
  }
}

/** What a connection was made with: none survives another of these. */
function identityOf({ gateway, credentials, name, tls, proxy }: AgentSettings): unknown[] {
  return [gateway, credentials, name, tls, proxy];
}
