import { type ByteCount, relay } from "../../../core/data_plane/relay.ts";
import { closeQuietly, GatewayError, messageOf } from "../../../core/plugin/mod.ts";
import type { Clock } from "../clock.ts";
import type { AccessGranted } from "../control/messages.ts";
import { encodeStreamHeader } from "../stream_header.ts";
import { withHeader } from "../tunnel_stream.ts";
import type { AccessEnd, AccessSessionInfo, AccessState } from "./events.ts";
import { GatewaySide, type GatewaySideParts, type GrantedLink } from "./gateway_side.ts";

/** What one access is to be. */
export interface AccessPlan
  extends Pick<GatewaySideParts, "settings" | "service" | "network" | "clock" | "random" | "times"> {
  readonly id: string;
  /** 0: any that is free. */
  readonly localPort: number;
  readonly ttlMs: number | undefined;
  readonly connected: () => void;
  readonly disconnected: (reason: string) => void;
  /** Ends it while it is being opened. */
  readonly signal: AbortSignal;
}

const LOOPBACK = "127.0.0.1";
/** Local connections at one time; the gateway takes no more streams by its own default. */
const MAX_OPEN = 1000;
/** How long a local connection waits for a gateway that was lost. */
const PATIENCE_MS = 10_000;
/** The gateway ends an access by its own clock, and says so; it is waited for so long. */
const LATE_MS = 1000;

/** One private service on a local port, until its time is over. */
export class AccessSession {
  readonly #plan: AccessPlan;
  readonly #clock: Clock;
  readonly #listener: Deno.TcpListener;
  readonly #address: Deno.NetAddr;
  readonly #gateway: GatewaySide;
  readonly #since: number;
  readonly #first = Promise.withResolvers<void>();
  readonly #over = Promise.withResolvers<AccessEnd>();
  /** Settles when it has ended and all is released; never rejects. */
  readonly ended: Promise<AccessEnd>;
  readonly #open = new Set<Disposable>();
  readonly #serving = new Set<Promise<void>>();
  readonly #sent: ByteCount = { bytes: 0 };
  readonly #received: ByteCount = { bytes: 0 };
  readonly #life = new AbortController();
  readonly #waiting = new Set<(granted: GrantedLink | undefined) => void>();
  #granted: GrantedLink | undefined;
  #answer: AccessGranted | undefined;
  /** `monotonic` time. */
  #deadline: number | undefined;
  #stopTimer = () => {};
  #connections = 0;
  #end: AccessEnd | undefined;

  private constructor(plan: AccessPlan, listener: Deno.TcpListener) {
    this.#plan = plan;
    this.#clock = plan.clock;
    this.#listener = listener;
    this.#address = listener.addr;
    this.#since = plan.clock.wall();
    this.#gateway = new GatewaySide({
      ...plan,
      remainingMs: () => this.#deadline === undefined ? plan.ttlMs : this.#deadline - this.#clock.monotonic(),
      granted: (granted, answer) => this.#take(granted, answer),
      interrupted: (reason) => this.#interrupted(reason),
      ended: (end) => this.#finish(end),
    });
    this.ended = this.#over.promise;
    this.#first.promise.catch(() => {});
  }

  /**
   * Listens, and resolves when the gateway has granted it.
   *
   * @throws {GatewayError} `address-in-use`, `permission-denied`, `listen-failed`: the local port. {AccessRefused} The gateway.
   */
  static async open(plan: AccessPlan): Promise<AccessSession> {
    const session = new AccessSession(plan, listenOn(plan.localPort));
    const stop = () => void session.stop();
    plan.signal.addEventListener("abort", stop);
    session.#gateway.start();
    try {
      await session.#first.promise;
    } catch (error) {
      await session.ended;
      throw error;
    } finally {
      plan.signal.removeEventListener("abort", stop);
    }
    session.#run(session.#accept());
    return session;
  }

  get info(): AccessSessionInfo {
    const { hostname: host, port } = this.#address;
    const remainingMs = this.#end === undefined
      ? Math.max(0, Math.round((this.#deadline ?? 0) - this.#clock.monotonic()))
      : 0;
    return {
      id: this.#plan.id,
      service: this.#answer?.service ?? this.#plan.service,
      protocol: this.#answer?.protocol ?? "tcp",
      local: { host, port },
      state: this.#state,
      ...(this.#end !== undefined && { end: this.#end }),
      since: this.#since,
      until: Math.round(this.#clock.wall() + remainingMs),
      remainingMs,
      connections: this.#connections,
      open: this.#open.size,
      bytesOut: this.#sent.bytes,
      bytesIn: this.#received.bytes,
    };
  }

  /** Ends it. Harmless when repeated. */
  async stop(): Promise<void> {
    this.#finish({ kind: "stopped", reason: "It was stopped" });
    await this.ended;
  }

  get #state(): AccessState {
    if (this.#end !== undefined) return "ended";
    return this.#granted === undefined ? "reconnecting" : "connected";
  }

  #take(granted: GrantedLink, answer: AccessGranted): void {
    if (this.#end !== undefined) return;
    this.#granted = granted;
    this.#answer = answer;
    const deadline = this.#clock.monotonic() + answer.ttlMs;
    this.#deadline = Math.min(this.#deadline ?? Infinity, deadline);
    this.#stopTimer();
    this.#stopTimer = this.#clock.after(
      Math.max(0, this.#deadline - this.#clock.monotonic()) + LATE_MS,
      () => this.#finish({ kind: "expired", reason: "Its time is over" }),
    );
    this.#first.resolve();
    this.#wake(granted);
    this.#plan.connected();
  }

  #interrupted(reason: string): void {
    this.#granted = undefined;
    this.#plan.disconnected(reason);
  }

  #wake(granted: GrantedLink | undefined): void {
    for (const wake of [...this.#waiting]) wake(granted);
  }

  async #accept(): Promise<void> {
    while (this.#end === undefined) {
      let local: Deno.TcpConn;
      try {
        local = await this.#listener.accept();
      } catch {
        if (this.#life.signal.aborted) return;
        await this.#pause(); // too many open files, as a rule
        continue;
      }
      if (this.#open.size >= MAX_OPEN) closeQuietly(local);
      else this.#run(this.#serve(local));
    }
  }

  #pause(): Promise<void> {
    return new Promise((resolve) => {
      const stop = this.#clock.after(100, resolve);
      this.#life.signal.addEventListener("abort", () => {
        stop();
        resolve();
      }, { once: true });
    });
  }

  /** Carries one local connection. Owns it; never rejects. */
  async #serve(local: Deno.TcpConn): Promise<void> {
    const held = { [Symbol.dispose]: () => closeQuietly(local) };
    this.#open.add(held);
    this.#connections++;
    const connectionId = String(this.#connections);
    try {
      local.setNoDelay();
      const granted = this.#granted ?? await this.#nextGranted();
      if (granted === undefined || this.#end !== undefined) return;
      const header = encodeStreamHeader({
        source: endpointOf(local.remoteAddr),
        destination: endpointOf(local.localAddr),
        connectionId,
        serviceId: granted.accessId,
      });
      const upstream = withHeader(granted.link.session.open(), header);
      try {
        await relay({ client: local, upstream, sent: this.#sent, received: this.#received });
      } finally {
        closeQuietly(upstream);
      }
    } catch {
      // The connection to the gateway was lost in this very moment, or the local client.
    } finally {
      this.#open.delete(held);
      closeQuietly(local);
    }
  }

  #nextGranted(): Promise<GrantedLink | undefined> {
    return new Promise((resolve) => {
      const wake = (granted: GrantedLink | undefined) => {
        stop();
        this.#waiting.delete(wake);
        resolve(granted);
      };
      const stop = this.#clock.after(PATIENCE_MS, () => wake(undefined));
      this.#waiting.add(wake);
    });
  }

  #finish(end: AccessEnd): void {
    if (this.#end !== undefined) return;
    this.#end = end;
    this.#granted = undefined;
    this.#first.reject(new AccessRefused(end));
    this.#stopTimer();
    this.#life.abort();
    closeQuietly(this.#listener);
    this.#wake(undefined);
    for (const held of [...this.#open]) held[Symbol.dispose]();
    void (async () => {
      await this.#gateway.stop();
      await Promise.all(this.#serving);
      this.#over.resolve(end);
    })();
  }

  #run(work: Promise<void>): void {
    this.#serving.add(work);
    void work.finally(() => this.#serving.delete(work));
  }
}

/** The gateway did not grant an access, or could not be reached at all. */
export class AccessRefused extends Error {
  override readonly name = "AccessRefused";
  readonly end: AccessEnd;

  constructor(end: AccessEnd) {
    super(end.reason);
    this.end = end;
  }
}

function listenOn(port: number): Deno.TcpListener {
  try {
    return Deno.listen({ hostname: LOOPBACK, port });
  } catch (cause) {
    const where = `${LOOPBACK}:${port}`;
    if (cause instanceof Deno.errors.AddrInUse) {
      throw new GatewayError("address-in-use", `Another program listens on ${where}`, { cause });
    }
    if (cause instanceof Deno.errors.PermissionDenied || cause instanceof Deno.errors.NotCapable) {
      throw new GatewayError("permission-denied", `No permission to listen on ${where}`, { cause });
    }
    throw new GatewayError("listen-failed", `Cannot listen on ${where}: ${messageOf(cause)}`, { cause });
  }
}

function endpointOf({ hostname, port }: Deno.NetAddr): { address: string; port: number } {
  return { address: hostname, port };
}
