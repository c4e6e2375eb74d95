import { LineReader } from "./lines.ts";
import type { Child, Tools } from "./tools.ts";

/** How a program has ended. */
export interface Exit {
  readonly code: number;
  /** Absent unless a signal ended it. */
  readonly signal?: string;
}

/** From SIGTERM to SIGKILL. */
const TERM_MS = 2000;
/** How long what it printed last may be on its way, and a grandchild may hold the other end of the pipe. */
const OUTPUT_GRACE_MS = 200;
/** What a person can read; a program with more to say is not helped by keeping it. */
const LINES_PER_SECOND = 100;

export interface ProcessOptions {
  onLine(line: string): void;
  /** Called now and then with the number of lines that were too many to be handed on. */
  onDropped(lines: number): void;
  /** It has ended; what it said last may still be on its way. */
  onExit(): void;
}

/** A program that runs. Whatever it prints is taken from it until its end. */
export class Process {
  readonly pid: number;
  /** Settles once the program has ended and all that it said was handed on. Never rejects. */
  readonly ended: Promise<Exit>;
  readonly #child: Child;
  readonly #tools: Tools;
  #hasEnded = false;
  #cancelKill: (() => void) | undefined;

  constructor(child: Child, options: ProcessOptions, tools: Tools) {
    this.#child = child;
    this.#tools = tools;
    this.pid = child.pid;
    this.ended = this.#watch(options);
  }

  /** Asks it to end, and kills it when it does not within 2 s. Resolves at its end; may be called again. */
  stop(): Promise<Exit> {
    if (!this.#hasEnded && this.#cancelKill === undefined) {
      this.#cancelKill = this.#tools.after(TERM_MS, () => this.#kill("SIGKILL"));
      this.#kill("SIGTERM");
    }
    return this.ended;
  }

  async #watch(options: ProcessOptions): Promise<Exit> {
    const readers = [this.#child.stdout.getReader(), this.#child.stderr.getReader()];
    const drained = Promise.all(readers.map((reader) => this.#drain(reader, options)));
    const { code, signal } = await this.#child.status;
    this.#hasEnded = true;
    options.onExit();
    this.#cancelKill?.();
    const cancelGrace = this.#tools.after(OUTPUT_GRACE_MS, () => {
      for (const reader of readers) reader.cancel().catch(() => {});
    });
    await drained;
    cancelGrace();
    return { code, ...(signal !== null && { signal }) };
  }

  async #drain(reader: ReadableStreamDefaultReader<Uint8Array>, options: ProcessOptions): Promise<void> {
    const lines = new LineReader(options.onLine, {
      linesPerSecond: LINES_PER_SECOND,
      now: this.#tools.now,
    });
    let reported = -Infinity;
    const report = () => {
      reported = this.#tools.now();
      const dropped = lines.takeDropped();
      if (dropped > 0) options.onDropped(dropped);
    };
    try {
      for (let part; !(part = await reader.read()).done;) {
        lines.push(part.value);
        if (this.#tools.now() - reported >= 1000) report();
      }
    } catch {
      // The pipe broke with the program: its status tells.
    }
    lines.finish();
    report();
  }

  #kill(signal: "SIGTERM" | "SIGKILL"): void {
    if (this.#hasEnded) return;
    try {
      this.#child.kill(signal);
    } catch (error) {
      // It may have ended, with its status still on the way to us.
      if (!(error instanceof TypeError) && !(error instanceof Deno.errors.NotFound)) throw error;
    }
  }
}
