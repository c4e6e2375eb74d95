import { GatewayError } from "../errors.ts";
import { NameTable, parseNamePattern } from "../names.ts";
import type { MessageChannelEnd } from "../rpc.ts";
import { type Methods, openRpc, type Rpc } from "../rpc.ts";
import type { ByteStream } from "../byte_stream.ts";
import type { ClosedEvent, ConnectionInfo, Decision, DialEvent, Plugin, PortRange } from "./contract.ts";

/** What a plugin says of itself once its config is checked; see `PluginDefinition`. */
export interface PluginTraits {
  /** Absent: it is asked about every connection. */
  readonly names?: readonly string[];
  readonly routeTimeoutMs: number;
  readonly files?: readonly string[];
  readonly mutualTls?: readonly string[];
  readonly terminates?: readonly string[];
  readonly ports?: PortRange;
}

/** The default of `PluginDefinition.routeTimeoutMs`. */
export const DEFAULT_ROUTE_TIMEOUT_MS = 5000;

/** A plugin as a data plane sees it, inline or in its own worker. */
export interface PluginHandle {
  readonly name: string;
  readonly routeTimeoutMs: number;
  /** Whether this plugin is to be asked at all. */
  mayTake(connection: ConnectionInfo): boolean;
  /** `undefined`: not this plugin's. Throws or rejects when the plugin does not work. */
  route(connection: ConnectionInfo, scope: SignalScope): unknown;
  /** Nobody waits for the answer about this connection any more. */
  readonly cancel?: (connection: ConnectionInfo) => void;
  readonly handle?:
    | ((stream: ByteStream, connection: ConnectionInfo, scope: SignalScope) => Promise<void>)
    | undefined;
  readonly open?:
    | ((connection: ConnectionInfo, scope: SignalScope) => Promise<ByteStream>)
    | undefined;
  readonly dialed?: (event: DialEvent) => unknown;
  readonly closed?: (event: ClosedEvent) => unknown;
}

/** Something with a signal that is made when somebody first asks for it. */
export interface SignalScope {
  readonly signal: AbortSignal;
}

/** A connection, as long as a plugin decides about it. */
export interface RouteScope extends SignalScope {
  /** Called when the connection ends. One slot: an event target for each question costs more than asking it. */
  onEnd: (() => void) | undefined;
}

/** A signal that is made when somebody first asks for it, and hardly anybody does. */
export class LazySignal implements SignalScope {
  #controller: AbortController | undefined;
  #aborted = false;

  get signal(): AbortSignal {
    this.#controller ??= new AbortController();
    if (this.#aborted) this.#controller.abort();
    return this.#controller.signal;
  }

  abort(): void {
    this.#aborted = true;
    this.#controller?.abort();
  }
}

function nameFilter(names: readonly string[] | undefined): (connection: ConnectionInfo) => boolean {
  if (names === undefined) return () => true;
  const table = new NameTable<true>();
  for (const pattern of names.map(parseNamePattern)) {
    if (!table.get(pattern)) table.add(pattern, true);
  }
  return ({ tls }) => tls?.serverName !== undefined && table.lookup(tls.serverName) === true;
}

/** Where a plugin's instance is found; a reload may put another in its place. */
export interface PluginHolder {
  readonly plugin: Plugin;
}

/** A plugin that lives in this very worker. */
export function inlineHandle(name: string, traits: PluginTraits, plugin: Plugin): PluginHandle {
  return new InlineHandle(name, traits, { plugin });
}

/** As {@link inlineHandle}, for a plugin of which the instance may change: there is no moment without one. */
export class InlineHandle implements PluginHandle {
  readonly name: string;
  readonly routeTimeoutMs: number;
  readonly mayTake: (connection: ConnectionInfo) => boolean;
  readonly #holder: PluginHolder;

  constructor(name: string, traits: PluginTraits, holder: PluginHolder) {
    this.name = name;
    this.routeTimeoutMs = traits.routeTimeoutMs;
    this.mayTake = nameFilter(traits.names);
    this.#holder = holder;
  }

  route(connection: ConnectionInfo, scope: SignalScope): unknown {
    return this.#holder.plugin.route(connection, scope);
  }

  get handle(): PluginHandle["handle"] {
    const { plugin } = this.#holder;
    return plugin.handle && ((stream, connection, scope) => plugin.handle!(stream, connection, scope));
  }

  get open(): PluginHandle["open"] {
    const { plugin } = this.#holder;
    return plugin.open && ((connection, scope) => plugin.open!(connection, scope));
  }

  dialed(event: DialEvent): unknown {
    return this.#holder.plugin.dialed?.(event);
  }

  closed(event: ClosedEvent): unknown {
    return this.#holder.plugin.closed?.(event);
  }
}

/** What a data plane asks of a plugin's worker. */
export interface PluginMethods extends Methods {
  route(connection: ConnectionInfo): Promise<Decision | undefined>;
  /** The client has left, or the time for an answer is over. */
  cancel(connection: string): void;
  dialed(event: DialEvent): void;
  closed(event: ClosedEvent): void;
  adopt(connections: readonly ConnectionInfo[]): void;
}

/** What a plugin's worker may ask of a data plane. */
export interface PlaneServices extends Methods {
  endConnection(connection: string, result: string): void;
}

/** Which of the optional hooks a plugin has: nothing is sent for the others. */
export interface PluginHooks {
  readonly dialed: boolean;
  readonly closed: boolean;
  readonly adopt: boolean;
}

const NO_HOOKS: PluginHooks = { dialed: false, closed: false, adopt: false };
/** Connections handed over in one message: each may hold a chain of certificates. */
const ADOPTED_AT_ONCE = 256;

/** A plugin that answers nothing holds this many questions and no more: strangers make them. */
const MAX_QUESTIONS = 10_000;

/** A plugin in another worker, reached over a port of its own. `connect` gives it a worker, `disconnect` takes it away. */
export class RemoteHandle implements PluginHandle {
  readonly name: string;
  #traits: PluginTraits = { routeTimeoutMs: DEFAULT_ROUTE_TIMEOUT_MS };
  #mayTake: (connection: ConnectionInfo) => boolean = () => true;
  /** Questions that it has not answered, also those that nobody waits for any more. */
  #asked = 0;
  #rpc: Rpc<PluginMethods> | undefined;
  #port: MessagePort | undefined;
  #hooks = NO_HOOKS;

  constructor(name: string) {
    this.name = name;
  }

  get routeTimeoutMs(): number {
    return this.#traits.routeTimeoutMs;
  }

  /** Takes what the plugin says of itself under the current config. */
  configure(traits: PluginTraits): void {
    this.#traits = traits;
    this.#mayTake = nameFilter(traits.names);
  }

  mayTake(connection: ConnectionInfo): boolean {
    return this.#mayTake(connection);
  }

  /**
   * Takes a port to the plugin's (new) worker.
   *
   * @param open What is open by the decisions of the worker before it.
   */
  connect(
    port: MessagePort,
    hooks: PluginHooks,
    services: PlaneServices,
    open: readonly ConnectionInfo[] = [],
  ): void {
    this.disconnect();
    this.#rpc = openRpc<PluginMethods>(port as MessageChannelEnd, services);
    this.#port = port;
    this.#hooks = hooks;
    if (!hooks.adopt) return;
    for (let i = 0; i < open.length; i += ADOPTED_AT_ONCE) {
      this.#rpc.notify("adopt", open.slice(i, i + ADOPTED_AT_ONCE));
    }
  }

  /** The plugin's worker has ended: pending questions fail at once, and new ones until the next `connect`. */
  disconnect(): void {
    this.#rpc?.close(`Plugin "${this.name}" is down`);
    this.#port?.close();
    this.#rpc = this.#port = undefined;
  }

  route(connection: ConnectionInfo): Promise<unknown> {
    if (this.#rpc === undefined) throw new GatewayError("plugin-failed", `Plugin "${this.name}" is down`);
    if (this.#asked >= MAX_QUESTIONS) {
      throw new GatewayError(
        "plugin-failed",
        `Plugin "${this.name}" has ${MAX_QUESTIONS} questions to answer`,
      );
    }
    this.#asked++;
    return this.#rpc.call("route", connection).finally(() => this.#asked--);
  }

  cancel(connection: ConnectionInfo): void {
    this.#rpc?.notify("cancel", connection.id);
  }

  readonly dialed = (event: DialEvent): void => {
    if (this.#hooks.dialed) this.#rpc?.notify("dialed", event);
  };

  readonly closed = (event: ClosedEvent): void => {
    if (this.#hooks.closed) this.#rpc?.notify("closed", event);
  };
}
