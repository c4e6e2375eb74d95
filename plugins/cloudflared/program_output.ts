import type { Log, LogLevel } from "../../core/plugin/mod.ts";
import type { Masker } from "./mask.ts";
import { classify, type Meaning, parseLine } from "./output.ts";

/** How many of its last lines tell why a program failed. */
const LAST_LINES = 10;
/** The longest line in the log and in a failure. What is hidden has been hidden before it is cut. */
const MAX_LINE = 1000;
/** Lines that a program may put into the gateway's log: a burst, and what it gets back each second. */
const LOG_BURST = 30;
const LOG_PER_SECOND = 5;

export interface ProgramOutputOptions {
  readonly hostname: string;
  readonly log: Log;
  readonly masker: Masker;
  /** Milliseconds that only grow. */
  now(): number;
  onMeaning(meaning: Meaning): void;
}

/** What a program says: understood, kept for a failure, and passed to the log as far as it is not too much. */
export class ProgramOutput {
  readonly #options: ProgramOutputOptions;
  readonly #last: string[] = [];
  #allowance = LOG_BURST;
  #refilled: number;
  #leftOut = 0;

  constructor(options: ProgramOutputOptions) {
    this.#options = options;
    this.#refilled = options.now();
  }

  /** Its last lines, oldest first, without secrets. */
  get lastLines(): readonly string[] {
    return this.#last;
  }

  /** Takes a line as it was printed. */
  line(text: string): void {
    const { masker, onMeaning } = this.#options;
    const line = parseLine(text);
    const message = masker.mask(line.message).slice(0, MAX_LINE);
    this.#last.push(message);
    if (this.#last.length > LAST_LINES) this.#last.shift();
    this.#toLog(line.level ?? "info", message);
    const meaning = classify(line);
    if (meaning !== undefined) onMeaning(meaning);
  }

  /** Takes note of lines that were too many to be read. */
  dropped(lines: number): void {
    this.#leftOut += lines;
  }

  /** Tells the log how much it was not told. Called at the end, and by the next line that is. */
  tellLeftOut(): void {
    if (this.#leftOut === 0) return;
    const { log, hostname } = this.#options;
    log.warn("cloudflared_output_left_out", { hostname, lines: this.#leftOut });
    this.#leftOut = 0;
  }

  #toLog(level: LogLevel, line: string): void {
    const { log, hostname } = this.#options;
    if (!log.enabled(level)) return;
    if (!this.#mayLog()) {
      this.#leftOut++;
      return;
    }
    this.tellLeftOut();
    log[level]("cloudflared_output", { hostname, line });
  }

  #mayLog(): boolean {
    const now = this.#options.now();
    const earned = (now - this.#refilled) * LOG_PER_SECOND / 1000;
    this.#allowance = Math.min(LOG_BURST, this.#allowance + earned);
    this.#refilled = now;
    if (this.#allowance < 1) return false;
    this.#allowance--;
    return true;
  }
}
