import { createLog, type Log, type LogEvent, type LogLevel } from "./log.ts";
import type { Methods, Rpc } from "./rpc.ts";

/** What a worker's log asks of the supervisor, which alone writes. */
export interface LogBatchMethods extends Methods {
  log(events: readonly LogEvent[], dropped: number): void;
}

/** How long an event may wait for others, in milliseconds: a message for each would cost more than making it. */
const BATCH_MS = 20;
/** Events that may wait. What comes while so many do is counted and dropped: a log never holds up the data path. */
const MAX_WAITING = 5000;

/** Hands over what waits in this worker, batch by batch. */
const waitingBatches = new Map<() => void, ReturnType<typeof setTimeout>>();

/** A log that hands its events to the supervisor, many at a time. */
export function openLogBatch(from: string, level: LogLevel, supervisor: Rpc<LogBatchMethods>): Log {
  let waiting: LogEvent[] = [];
  let dropped = 0;
  const flush = () => {
    waitingBatches.delete(flush);
    const batch = [waiting, dropped] as const;
    waiting = [];
    dropped = 0;
    try {
      supervisor.notify("log", ...batch);
    } catch { // a field that is not plain data, against its type
      supervisor.notify("log", batch[0].map(asPlainData), batch[1]);
    }
  };
  return createLog(from, level, (event) => {
    if (waiting.length === 0) waitingBatches.set(flush, setTimeout(flush, BATCH_MS));
    if (waiting.length < MAX_WAITING) waiting.push(event);
    else dropped++;
  });
}

function asPlainData(event: LogEvent): LogEvent {
  const fields = Object.entries(event.fields).map((
    [key, value],
  ) => [key, value === undefined ? value : String(value)]);
  return { ...event, fields: Object.fromEntries(fields) };
}

/** Hands over at once what every log of this worker still holds: what a worker says last is said before it ends. */
export function flushLogBatches(): void {
  for (const [flush, timer] of waitingBatches) {
    clearTimeout(timer);
    flush();
  }
}
