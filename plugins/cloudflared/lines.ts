const NEWLINE = 0x0a;
/** A line of the program's log has some 200 bytes; what is beyond this is left out. */
const MAX_LINE_BYTES = 4096;

/** Stands at the end of a line of which the rest was left out. */
export const CUT = "…";

export interface LineLimits {
  /** At most this many lines a second are handed on. */
  readonly linesPerSecond: number;
  /** Milliseconds that only grow. */
  now(): number;
}

/**
 * Cuts a stream of bytes into lines. All of it is taken, at once and without an end, so that whoever writes never has
 * to wait; but only so much of it costs more than looking for the end of a line.
 */
export class LineReader {
  readonly #onLine: (line: string) => void;
  readonly #limits: LineLimits;
  /** The line that has not ended, as far as it is kept. */
  readonly #line = new Uint8Array(MAX_LINE_BYTES);
  #length = 0;
  #cut = false;
  #second = -Infinity;
  #lines = 0;
  #dropped = 0;

  constructor(onLine: (line: string) => void, limits: LineLimits) {
    this.#onLine = onLine;
    this.#limits = limits;
  }

  /** How many lines were left out since this was last asked. */
  takeDropped(): number {
    const dropped = this.#dropped;
    this.#dropped = 0;
    return dropped;
  }

  /** Takes what has come. */
  push(bytes: Uint8Array): void {
    for (let start = 0; start < bytes.length;) {
      const newline = bytes.indexOf(NEWLINE, start);
      const end = newline < 0 ? bytes.length : newline;
      this.#keep(bytes.subarray(start, end));
      if (newline >= 0) this.finish();
      start = end + 1;
    }
  }

  /** The line has ended, or the stream has. */
  finish(): void {
    const [length, cut] = [this.#length, this.#cut];
    this.#length = 0;
    this.#cut = false;
    if (length === 0) return;
    if (!this.#mayHandOn()) {
      this.#dropped++;
      return;
    }
    // Copied by the decoder. Control characters could paint over a terminal that shows the log.
    const text = new TextDecoder().decode(this.#line.subarray(0, length)).replaceAll(CONTROL, " ").trimEnd();
    if (text !== "") this.#onLine(cut ? text + CUT : text);
  }

  #keep(part: Uint8Array): void {
    const room = MAX_LINE_BYTES - this.#length;
    if (part.length > room) this.#cut = true;
    const kept = part.subarray(0, room);
    this.#line.set(kept, this.#length);
    this.#length += kept.length;
  }

  #mayHandOn(): boolean {
    const now = this.#limits.now();
    if (now - this.#second >= 1000) {
      this.#second = now;
      this.#lines = 0;
    }
    return ++this.#lines <= this.#limits.linesPerSecond;
  }
}

// deno-lint-ignore no-control-regex -- control characters are exactly what is looked for
const CONTROL = /[\x00-\x1f\x7f-\x9f]/g;
