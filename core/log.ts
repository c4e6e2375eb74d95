/** How much an event matters, least first. */
export const LOG_LEVELS = ["debug", "info", "warn", "error"] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];

/** Plain data only: an event crosses worker boundaries before it is written. */
export type LogFields = Readonly<Record<string, string | number | boolean | undefined>>;

/** One thing that happened: an event word, and fields rather than sentences. */
export interface LogEvent {
  /** Milliseconds since 1970. */
  readonly time: number;
  readonly level: LogLevel;
  /** Who says it: `supervisor`, `data-plane-0`, `plugin:static`, `admin`. */
  readonly from: string;
  readonly event: string;
  readonly fields: LogFields;
}

/** Where events go. `enabled` lets a caller on the hot path skip making the fields. */
export interface Log {
  enabled(level: LogLevel): boolean;
  debug(event: string, fields?: LogFields): void;
  info(event: string, fields?: LogFields): void;
  warn(event: string, fields?: LogFields): void;
  error(event: string, fields?: LogFields): void;
}

/** A log of everything at or above `level`, handed to `sink` one event at a time. */
export function createLog(from: string, level: LogLevel, sink: (event: LogEvent) => void): Log {
  const lowest = LOG_LEVELS.indexOf(level);
  const at = (of: LogLevel) => {
    const shown = LOG_LEVELS.indexOf(of) >= lowest;
    return (event: string, fields: LogFields = {}) => {
      if (shown) sink({ time: Date.now(), level: of, from, event, fields });
    };
  };
  return {
    enabled: (of) => LOG_LEVELS.indexOf(of) >= lowest,
    debug: at("debug"),
    info: at("info"),
    warn: at("warn"),
    error: at("error"),
  };
}

/** A log that keeps nothing. */
export const SILENT_LOG: Log = createLog("", "error", () => {});
