import { getPrettyFormatter } from "@logtape/pretty";
import type { LogConfig } from "../config/config.ts";
import type { LogEvent } from "../log.ts";

/** Lines that may wait for whoever reads the log. More are counted and dropped: nobody waits for a log. */
const MAX_WAITING = 10_000;
/** How long the last lines may take at the end, in milliseconds. */
const FLUSH_MS = 1000;

/** Where lines go; `Deno.stdout` has this shape. */
export interface LogTarget {
  write(bytes: Uint8Array): Promise<number>;
  /** Whether a person looks at it: then lines have colours. Absent: nobody does. */
  isTerminal?(): boolean;
}

/** Writes events as lines, in order, without ever holding up the one who reports them. */
export class LogWriter {
  readonly #format: (event: LogEvent) => string;
  readonly #target: LogTarget;
  readonly #encoder = new TextEncoder();
  #waiting: string[] = [];
  #dropped = 0;
  #writing: Promise<void> | undefined;

  constructor(format: LogConfig["format"], target: LogTarget) {
    this.#format = format === "json"
      ? formatJson
      : formatPretty(target.isTerminal?.() === true && !Deno.noColor);
    this.#target = target;
  }

  write(event: LogEvent): void {
    if (this.#waiting.length >= MAX_WAITING) {
      this.#dropped++;
      return;
    }
    this.#waiting.push(this.#line(event));
    this.#writing ??= this.#writeAll();
  }

  /** Events that were dropped before they came here. */
  addDropped(count: number): void {
    this.#dropped += count;
  }

  /** Resolves once everything is written, or after a second. */
  async flush(): Promise<void> {
    if (this.#writing === undefined) return;
    let timer;
    const late = new Promise<void>((resolve) => timer = setTimeout(resolve, FLUSH_MS));
    await Promise.race([this.#writing, late]);
    clearTimeout(timer);
  }

  /** Fields come from workers, and might be no plain data after all. */
  #line(event: LogEvent): string {
    try {
      return this.#format(event);
    } catch {
      return this.#format({ ...event, fields: { unprintable: true } });
    }
  }

  async #writeAll(): Promise<void> {
    await Promise.resolve(); // what is reported in the same turn goes out in one write
    while (this.#waiting.length > 0) {
      const lines = this.#waiting.join("") + this.#tellDropped();
      this.#waiting = [];
      try {
        const bytes = this.#encoder.encode(lines);
        for (let offset = 0; offset < bytes.length;) {
          offset += await this.#target.write(bytes.subarray(offset));
        }
      } catch {
        // Nobody reads the log any more (a closed pipe): the gateway goes on without.
      }
    }
    this.#writing = undefined;
  }

  #tellDropped(): string {
    if (this.#dropped === 0) return "";
    const fields = { dropped: this.#dropped };
    this.#dropped = 0;
    return this.#format({ time: Date.now(), level: "warn", from: "log", event: "log_dropped", fields });
  }
}

function formatJson({ time, level, from, event, fields }: LogEvent): string {
  const head = { time: new Date(time).toISOString(), level, from, event };
  return inert(JSON.stringify({ ...head, ...fields, ...head })) + "\n"; // no field passes for one of these
}

function formatPretty(colors: boolean): (event: LogEvent) => string {
  const format = getPrettyFormatter({
    timestamp: "time",
    colors,
    icons: false,
    wordWrap: false,
    align: false,
  });
  return ({ time, level, from, event, fields }) => {
    const text = [plain(event), ...Object.entries(fields).flatMap(formatField)].join(" ");
    return format({
      category: [from],
      level: level === "warn" ? "warning" : level,
      message: [text],
      rawMessage: text,
      timestamp: time,
      properties: {},
    });
  };
}

function formatField([key, value]: [string, LogEvent["fields"][string]]): string[] {
  return value === undefined ? [] : [`${plain(key)}=${plain(String(value))}`];
}

/** What a stranger may have written is quoted, and cannot break the line or steer a terminal. */
function plain(text: string): string {
  if (/^[\w.:/@*+[\]-]+$/.test(text)) return text;
  return inert(JSON.stringify(text));
}

/** JSON that says the same without what JSON leaves as it is, and a terminal acts upon: C1 controls, and marks that turn text around. */
function inert(json: string): string {
  return json.replaceAll(/[\x7f-\x9f\u2028\u2029\p{Cf}]/gu, (character) => {
    return Array.from({ length: character.length }, (_, i) => {
      return `\\u${character.charCodeAt(i).toString(16).padStart(4, "0")}`;
    }).join("");
  });
}
