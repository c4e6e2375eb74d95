import { type Log, messageOf } from "../../core/plugin/mod.ts";
import type { Counters } from "./counters.ts";
import type { Failure } from "./failure.ts";
import { type Launch, Session, type SessionOptions } from "./session.ts";
import type { Tools } from "./tools.ts";

/** What the launchers of all tunnels share. */
export interface LauncherHost {
  readonly tools: Tools;
  readonly log: Log;
  readonly counters: Counters;
  readonly settings: { readonly startupTimeoutMs: number };
  /** Whether the program was last seen to listen without a word. */
  isSilent: boolean;
  /** Waits for a port if one is about to be free. */
  takePort(hostname: string): Promise<number | undefined>;
  /** @param hostname Whose connections may still be on their way to it: nobody else gets it until they are not. */
  giveBackPort(port: number, hostname?: string): void;
  /** Somebody else has that port. */
  setPortAside(port: number): void;
  /** From now on this session counts, until its end. */
  began(session: Session): void;
  /** The program cannot be started at all, for this tunnel or any other. */
  unstartable(failure: Failure): void;
}

type SessionEvents = Pick<SessionOptions, "onComplaint" | "onFatal" | "onExit">;

export interface LauncherOptions extends Launch, SessionEvents {
  readonly hostname: string;
  /** A session has begun: the program runs, and does not listen yet. */
  onBegun(): void;
  /** The current session had come to listen, and has ended by itself. */
  onEnded(session: Session, failure: Failure): void;
  /** Whether connections may still be on their way to the port of this session, which has ended. */
  isInUse(session: Session): boolean;
}

/** So many ports that others have are tried for one start. */
const MAX_PORT_TRIES = 5;

const STOPPED: Failure = { reason: "stopped", detail: "" };

/**
 * Starts and stops the program for one host name. Each session has a port, which is given back at its end.
 *
 * At most one session is current. One that was told to stop is not, and a new one may begin beside it.
 */
export class Launcher {
  readonly #host: LauncherHost;
  readonly #options: LauncherOptions;
  #session: Session | undefined;
  #closed = false;

  constructor(host: LauncherHost, options: LauncherOptions) {
    this.#host = host;
    this.#options = options;
  }

  /** The current one. */
  get session(): Session | undefined {
    return this.#session;
  }

  /** Resolves when the program listens (to nothing), or won't (to why not). Never rejects. */
  async launch(): Promise<Failure | undefined> {
    try {
      return await this.#tryPorts();
    } catch (error) { // no port may be tried
      return { reason: "not_permitted", detail: messageOf(error) };
    }
  }

  /** Stops the current session, if there is one. @returns What resolves at its end. */
  stop(why: string): Promise<void> | undefined {
    const session = this.#session;
    if (session === undefined) return undefined;
    this.#session = undefined;
    const { pid, port } = session;
    this.#host.log.info("cloudflared_stopping", { hostname: this.#options.hostname, pid, port, why });
    return session.stop();
  }

  /** Starts nothing from now on, even for a launch that is under way. */
  close(): void {
    this.#closed = true;
  }

  async #tryPorts(): Promise<Failure | undefined> {
    const { hostname } = this.#options;
    for (let tries = 0; tries < MAX_PORT_TRIES; tries++) {
      const port = await this.#host.takePort(hostname);
      if (port === undefined) return { reason: "no_free_port", detail: "" };
      const session = this.#open(port);
      if (!(session instanceof Session)) {
        this.#host.giveBackPort(port);
        return session;
      }
      const failure = await session.started;
      if (failure === undefined) {
        this.#host.isSilent = session.wasSilent;
        return undefined;
      }
      if (session === this.#session) this.#session = undefined;
      if (failure.reason !== "port_taken") return failure;
      this.#host.setPortAside(port);
      this.#host.counters.failed("port_taken");
      this.#host.log.info("cloudflared_port_taken", { hostname, port });
    }
    return { reason: "port_taken", detail: `${MAX_PORT_TRIES} ports in a row` };
  }

  #open(port: number): Session | Failure {
    if (this.#closed) return STOPPED;
    const { tools, log, settings: { startupTimeoutMs }, isSilent } = this.#host;
    const session = Session.start({ ...this.#options, port, startupTimeoutMs, isSilent, log }, tools);
    if (!(session instanceof Session)) {
      this.#host.unstartable(session);
      return session;
    }
    this.#session = session;
    this.#host.began(session);
    this.#options.onBegun();
    session.ended.then((failure) => this.#ended(session, failure));
    return session;
  }

  #ended(session: Session, failure: Failure): void {
    const options = this.#options;
    this.#host.giveBackPort(session.port, options.isInUse(session) ? options.hostname : undefined);
    if (!session.wasReady || session !== this.#session) return;
    this.#session = undefined;
    options.onEnded(session, failure);
  }
}
