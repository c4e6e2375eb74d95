import { systemNetwork } from "../agent/network.ts";
import type { AgentNetwork } from "../agent/network.ts";
import type { GatewayAddress } from "../agent/gateway_address.ts";
import type { LinkTimes } from "../agent/link.ts";
import type { AgentSettings, GatewayTls } from "../agent/settings.ts";
import { type Clock, SYSTEM_CLOCK } from "../clock.ts";
import type { AccessEvent, AccessSessionInfo } from "./events.ts";
import { AccessSession } from "./session.ts";

export interface AccessManagerOptions {
  readonly gateway: GatewayAddress;
  /** What is shown to the gateway: a token, or a JWT. */
  readonly token: string;
  /** @default the runtime's CAs */
  readonly tls?: GatewayTls | undefined;
  /** For sessions that do not say how long, in milliseconds. @default what the gateway gives: an hour */
  readonly defaultTtlMs?: number | undefined;
  /** The bounds of the wait before the next attempt to connect. @default 500 ms to 30 s */
  readonly reconnect?: AgentSettings["reconnect"] | undefined;
  /** Told of everything that happens, in order. Must not throw. */
  readonly onEvent?: ((event: AccessEvent) => void) | undefined;
  /** @default the machine's */
  readonly network?: AgentNetwork | undefined;
  readonly clock?: Clock | undefined;
  /** From 0 to 1, 1 excluded. @default Math.random */
  readonly random?: (() => number) | undefined;
  readonly linkTimes?: Partial<LinkTimes> | undefined;
}

export interface StartAccess {
  /** `NAME` of a private service of one's own, or `OWNER/NAME`. */
  readonly service: string;
  /** On 127.0.0.1. @default any that is free */
  readonly localPort?: number | undefined;
  /** In milliseconds; the gateway may give less. */
  readonly ttlMs?: number | undefined;
}

const RECONNECT = { minMs: 500, maxMs: 30_000 };

/** Temporary local access to private services, through a gateway. Each session comes back by itself while its time lasts. */
export class AccessManager implements AsyncDisposable {
  readonly #options: AccessManagerOptions;
  readonly #sessions = new Map<string, AccessSession>();
  /** Being started. */
  readonly #starting = new Set<Promise<unknown>>();
  /** Ends those that are being started. */
  readonly #life = new AbortController();

  constructor(options: AccessManagerOptions) {
    this.#options = options;
  }

  /**
   * Listens on a local port, and resolves when the gateway lets connections through.
   *
   * @throws {GatewayError} `address-in-use`, `permission-denied`, `listen-failed`: the port. {AccessRefused} The gateway does not grant
   * it, or is not there.
   */
  async startSession(request: StartAccess): Promise<AccessSessionInfo> {
    if (this.#life.signal.aborted) throw new TypeError("This manager has been disposed");
    const id = crypto.randomUUID().slice(0, 8);
    const starting = this.#open(id, request);
    this.#starting.add(starting);
    try {
      const session = await starting;
      this.#sessions.set(id, session);
      void session.ended.then((end) => this.#tell({ kind: "ended", id, end }));
      return session.info;
    } finally {
      this.#starting.delete(starting);
    }
  }

  /** Those that are open, and those that have ended since the last {@link cleanupExpired}; the first one first. */
  listSessions(): AccessSessionInfo[] {
    return [...this.#sessions.values()].map(({ info }) => info);
  }

  /** Ends a session, and cuts its connections. @returns Whether there was one that had not ended. */
  async stopSession(id: string): Promise<boolean> {
    const session = this.#sessions.get(id);
    if (session === undefined || session.info.state === "ended") return false;
    await session.stop();
    return true;
  }

  /** Forgets sessions that have ended; what they held was released by then. @returns How many. */
  cleanupExpired(): number {
    const over = this.listSessions().filter(({ state }) => state === "ended");
    for (const { id } of over) this.#sessions.delete(id);
    return over.length;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#life.abort();
    await Promise.allSettled(this.#starting);
    await Promise.all([...this.#sessions.values()].map((session) => session.stop()));
  }

  #open(id: string, { service, localPort = 0, ttlMs }: StartAccess): Promise<AccessSession> {
    const { gateway, token, tls = { insecure: false }, defaultTtlMs } = this.#options;
    return AccessSession.open({
      id,
      service,
      localPort,
      ttlMs: ttlMs ?? defaultTtlMs,
      settings: { gateway, tls, credentials: { token }, reconnect: this.#options.reconnect ?? RECONNECT },
      network: this.#options.network ?? systemNetwork(),
      clock: this.#options.clock ?? SYSTEM_CLOCK,
      random: this.#options.random ?? Math.random,
      times: this.#options.linkTimes ?? {},
      signal: this.#life.signal,
      connected: () => this.#tell({ kind: "connected", id }),
      disconnected: (reason) => this.#tell({ kind: "disconnected", id, reason }),
    });
  }

  #tell(event: AccessEvent): void {
    this.#options.onEvent?.(event);
  }
}
