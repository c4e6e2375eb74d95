import type { Log } from "../../core/plugin/mod.ts";
import { argumentsFor, environmentFor } from "./command_line.ts";
import type { ServiceToken } from "./config.ts";
import type { Failure } from "./failure.ts";
import type { Masker } from "./mask.ts";
import type { Meaning } from "./output.ts";
import { type Exit, Process } from "./process.ts";
import { ProgramOutput } from "./program_output.ts";
import type { Child, Tools } from "./tools.ts";

/** How the program is started. */
export interface Launch {
  readonly command: string;
  readonly token?: ServiceToken | undefined;
  readonly masker: Masker;
}

export interface SessionOptions extends Launch {
  readonly hostname: string;
  readonly port: number;
  readonly startupTimeoutMs: number;
  /** It has come to listen without a word before. */
  readonly isSilent: boolean;
  readonly log: Log;
  /** It listens, and one connection could not be brought to where it belongs. */
  onComplaint(failure: Failure): void;
  /** It listens, and will bring no connection anywhere. */
  onFatal(failure: Failure): void;
  /** The program has ended, by itself or not; how, `ended` tells when all that it said has been heard. */
  onExit(): void;
}

/**
 * From "about to listen", or from the first connection that was accepted, to ready. Within it comes the word that
 * somebody else has the port, if so: else clients would be sent to whoever that is.
 */
const SETTLE_MS = 10;
/**
 * A program that has not said by then that it listens is tried. Not sooner: a connection cannot tell it from a
 * stranger who took the port while it was starting, and costs it a session at the edge. One that is known to say
 * nothing is tried from its start: waiting would cost each first client this long, and it is not cloudflared.
 */
const PROBE_AFTER_MS = 500;
/** With {@link SETTLE_MS}, a program that says nothing is noticed within 50 ms of its listening. */
const PROBE_EVERY_MS = 30;
/** A failure quotes this much of what the program said. */
const MAX_DETAIL = 600;

export type SessionState = "starting" | "ready" | "stopping" | "ended";

/** One run of the program, from its start to its end. Starting it is all that can throw. */
export class Session {
  readonly port: number;
  readonly startedAt: number;
  /** Settles when it listens (nothing), or won't any more (why not). Never rejects. */
  readonly started: Promise<Failure | undefined>;
  /** Settles at the program's end, with how it came to it. Never rejects. */
  readonly ended: Promise<Failure>;
  readonly #options: SessionOptions;
  readonly #tools: Tools;
  readonly #output: ProgramOutput;
  readonly #process: Process;
  readonly #settleStart: (failure: Failure | undefined) => void;
  #state: SessionState = "starting";
  #cancelTimeout: () => void;
  #cancelWait: () => void = () => {};
  #settling = false;
  #wasReady = false;
  #wasSilent = false;

  private constructor(child: Child, options: SessionOptions, tools: Tools) {
    this.#options = options;
    this.#tools = tools;
    this.port = options.port;
    this.startedAt = tools.now();
    this.#output = new ProgramOutput({
      ...options,
      now: tools.now,
      onMeaning: (meaning) => this.#understood(meaning),
    });
    const { promise, resolve } = Promise.withResolvers<Failure | undefined>();
    this.started = promise;
    this.#settleStart = resolve;
    this.#cancelTimeout = tools.after(options.startupTimeoutMs, () => this.#timeout());
    this.#process = new Process(child, {
      onLine: (line) => this.#output.line(line),
      onDropped: (lines) => this.#output.dropped(lines),
      onExit: () => {
        if (this.#state === "ready") this.#state = "stopping"; // nobody is to be sent there any more
        options.onExit();
      },
    }, tools);
    this.ended = this.#process.ended.then((exit) => this.#ended(exit));
    this.#probeIn(options.isSilent ? PROBE_EVERY_MS : PROBE_AFTER_MS);
  }

  /** @returns A failure when the program cannot be started at all. */
  static start(options: SessionOptions, tools: Tools): Session | Failure {
    const { command, hostname, port, token } = options;
    try {
      const child = tools.spawn(command, {
        args: argumentsFor(hostname, port),
        env: environmentFor(port, token),
      });
      return new Session(child, options, tools);
    } catch (error) {
      return spawnFailure(command, error);
    }
  }

  get pid(): number {
    return this.#process.pid;
  }

  /** Whether it has come to listen. */
  get wasReady(): boolean {
    return this.#wasReady;
  }

  /** Whether that was found out by trying, and not by what it said. */
  get wasSilent(): boolean {
    return this.#wasSilent;
  }

  get state(): SessionState {
    return this.#state;
  }

  /** SIGTERM, and SIGKILL after 2 s. Resolves at its end; may be called again. */
  async stop(): Promise<void> {
    if (this.#state === "ended") return;
    this.#state = "stopping";
    this.#settle({ reason: "stopped", detail: "" });
    await this.#process.stop();
    await this.ended;
  }

  #understood(meaning: Meaning): void {
    if (this.#state !== "starting" && this.#state !== "ready") return;
    if (meaning.kind === "listening") {
      this.#wasSilent = false;
      return this.#listens();
    }
    // Who shows a token and is asked for a login all the same, shows a token that is not good enough.
    const denied = meaning.reason === "login_required" && this.#options.token !== undefined;
    const failure: Failure = {
      reason: denied ? "bad_service_token" : meaning.reason,
      detail: (this.#output.lastLines.at(-1) ?? "").slice(0, MAX_DETAIL), // the line that says it
    };
    if (meaning.kind === "complaint") this.#options.onComplaint(failure);
    else if (this.#state === "starting") this.#settle(failure);
    else this.#options.onFatal(failure);
  }

  #listens(): void {
    if (this.#settling) return;
    this.#settling = true;
    this.#cancelWait();
    this.#cancelWait = this.#tools.after(SETTLE_MS, () => this.#settle(undefined));
  }

  #probeIn(ms: number): void {
    this.#cancelWait = this.#tools.after(ms, async () => {
      const answers = await this.#tools.answers(this.port);
      if (this.#state !== "starting" || this.#settling) return;
      if (answers) {
        this.#wasSilent = true;
        this.#listens();
      } else {
        this.#probeIn(PROBE_EVERY_MS);
      }
    });
  }

  #timeout(): void {
    this.#settle(this.#failure("startup_timeout", `not within ${this.#options.startupTimeoutMs} ms`));
  }

  /** The start is over, one way or the other. */
  #settle(failure: Failure | undefined): void {
    this.#cancelTimeout();
    this.#cancelWait();
    if (this.#state === "starting") {
      this.#wasReady = failure === undefined;
      this.#state = this.#wasReady ? "ready" : "stopping";
    }
    if (failure !== undefined && this.#state === "stopping") void this.#process.stop();
    this.#settleStart(failure);
  }

  #ended(exit: Exit): Failure {
    const how = exit.signal === undefined ? `exit code ${exit.code}` : `killed by ${exit.signal}`;
    const failure = this.#failure("exited", how);
    this.#settle(failure);
    this.#state = "ended";
    this.#output.tellLeftOut();
    return failure;
  }

  #failure(reason: Failure["reason"], what: string): Failure {
    const said = this.#output.lastLines.join(" | ").slice(-MAX_DETAIL);
    return { reason, detail: said === "" ? what : `${what}: ${said}` };
  }
}

function spawnFailure(command: string, error: unknown): Failure {
  const quoted = JSON.stringify(command);
  if (error instanceof Deno.errors.NotFound) return { reason: "program_missing", detail: quoted };
  if (error instanceof Deno.errors.NotCapable) return notGranted(command);
  if (error instanceof Deno.errors.PermissionDenied) {
    return { reason: "not_permitted", detail: `${quoted} is no program that this user may run` };
  }
  return { reason: "exited", detail: `${quoted} could not be started` };
}

/** What the lack of the permission to start a program comes from. */
export function notGranted(command: string): Failure {
  const quoted = JSON.stringify(command);
  // A name that the PATH does not have was granted to nobody, so this is how its absence looks.
  return command.includes("/")
    ? { reason: "not_permitted", detail: `${quoted} is not among the plugin's permissions` }
    : { reason: "program_missing", detail: `${quoted} was not in the PATH when the gateway started` };
}
