import type { RecentEvent } from "../data_plane/snapshot.ts";
import { LOG_LEVELS, type LogEvent, type LogFields } from "../log.ts";

/** Enough for an afternoon of a gateway at peace; about 100 KB. */
const MAX_EVENTS = 200;
/** What strangers can cause has room of its own: it drives out nothing else, however many names and reasons it has. */
const MAX_BY_STRANGERS = 100;
/** Repetitions within this time are one event. */
const REPEAT_MS = 60_000;
/** Events that may have repetitions at once. */
const MAX_REPEATED = 64;
/** Fields come from strangers in part, and from plugins: whatever their types say. */
const MAX_FIELDS = 12;
const MAX_TEXT = 200;

/** Which events at `info` are worth a look later; those at `warn` and `error` all are. */
const WORTH_A_LOOK =
  /^(?:tunnel_opened|tunnel_closed|reloaded|draining|admin_|acme|certificate|cloudflared_|database_|plugin_|target_healthy)/;

/** What a stranger can make happen as often as he likes: repetitions are counted. */
const REPEATED_BY_STRANGERS: ReadonlySet<string> = new Set([
  "accept_failed",
  "access",
  "access_failed",
  "admin_login_refused",
  "agent_refused",
  "auth_failed",
  "authentication_failed",
  "certificate_not_issued",
  "connection_error",
  "connection_refused",
  "handler_failed",
  "postgres_cancel",
  "registration_failed",
  "registration_refused",
  "service_refused",
  "stream_refused",
  "target_failed",
  "tunnel_port_failed",
  "udp_flow_failed",
  "udp_flow_refused",
]);

/** What he can cause as well, and each is another. */
const BY_STRANGERS: ReadonlySet<string> = new Set(["tunnel_opened", "tunnel_closed"]);

interface Kept {
  sequence: number;
  count: number;
  event: LogEvent;
  readonly since: number;
}

/** The last things that happened, a bounded number of them. */
export class RecentEvents {
  readonly #ours = new Latest(MAX_EVENTS);
  readonly #strangers = new Latest(MAX_BY_STRANGERS);
  /** The entry that another of its kind is added to; all are of {@link #strangers}. */
  readonly #repeated = new Map<string, Kept>();
  #sequence = 0;

  /** That of the last event; 0 before there was one. */
  get sequence(): number {
    return this.#sequence;
  }

  /** Takes note of what was logged, if it is worth that. */
  add(event: LogEvent): void {
    const repeats = REPEATED_BY_STRANGERS.has(event.event);
    if (!repeats && (event.level === "debug" || event.level === "info") && !WORTH_A_LOOK.test(event.event)) {
      return;
    }
    const sound = bounded(event);
    if (repeats) this.#count(sound);
    else if (BY_STRANGERS.has(event.event)) this.#keepOfStrangers(sound);
    else this.#ours.add(this.#entry(sound));
  }

  /** What happened, or happened again, after `sequence`; oldest first. */
  since(sequence: number): RecentEvent[] {
    return [...this.#ours.after(sequence), ...this.#strangers.after(sequence)].sort(bySequence)
      .map(({ event, sequence, count }) => ({ ...event, sequence, count }));
  }

  #count(event: LogEvent): void {
    const kind = kindOf(event);
    const before = this.#repeated.get(kind);
    if (before !== undefined && event.time - before.since < REPEAT_MS) {
      before.count++;
      before.event = event;
      before.sequence = ++this.#sequence;
      return;
    }
    this.#repeated.delete(kind);
    if (this.#repeated.size >= MAX_REPEATED) {
      const oldest = this.#repeated.keys().next();
      if (!oldest.done) this.#repeated.delete(oldest.value);
    }
    this.#repeated.set(kind, this.#keepOfStrangers(event));
  }

  #keepOfStrangers(event: LogEvent): Kept {
    const entry = this.#entry(event);
    const gone = this.#strangers.add(entry);
    for (const [kind, one] of this.#repeated) if (gone.includes(one)) this.#repeated.delete(kind);
    return entry;
  }

  #entry(event: LogEvent): Kept {
    return { sequence: ++this.#sequence, count: 1, event, since: event.time };
  }
}

/** The entries that are new, or new again, last; up to twice as many while they come. */
class Latest {
  readonly #max: number;
  #kept: Kept[] = [];

  constructor(max: number) {
    this.#max = max;
  }

  /** @returns Those that had to go for it. */
  add(entry: Kept): readonly Kept[] {
    this.#kept.push(entry);
    if (this.#kept.length <= 2 * this.#max) return []; // not at every one: that would move all of them each time
    const sorted = this.#kept.sort(bySequence);
    this.#kept = sorted.slice(-this.#max);
    return sorted.slice(0, -this.#max);
  }

  after(sequence: number): Kept[] {
    return this.#kept.filter((one) => one.sequence > sequence).sort(bySequence).slice(-this.#max);
  }
}

function bySequence(a: Kept, b: Kept): number {
  return a.sequence - b.sequence;
}

/** By the reason, where it is one of the gateway's own words: there is an end to them. */
function kindOf({ event, fields }: LogEvent): string {
  const reason = fields["result"] ?? fields["reason"];
  return typeof reason === "string" && /^[a-z_]{1,40}$/.test(reason) ? `${event} ${reason}` : event;
}

/**
 * The event as plain data of a bounded size, on its way in: kept as it came, one with a field that cannot be
 * written would break every answer that it stands in.
 */
function bounded({ time, level, from, event, fields }: LogEvent): LogEvent {
  return {
    time: Number.isFinite(time) ? time : Date.now(),
    level: LOG_LEVELS.includes(level) ? level : "warn",
    from: cut(from),
    event: cut(event),
    fields: boundedFields(fields),
  };
}

function boundedFields(fields: LogFields | null | undefined): LogFields {
  const some = Object.entries(fields ?? {}).filter(([, value]) => value !== undefined).slice(0, MAX_FIELDS);
  return Object.fromEntries(some.map(([name, value]) => {
    const isShort = typeof value === "number" || typeof value === "boolean";
    return [cut(name), isShort ? value : cut(value)];
  }));
}

function cut(value: unknown): string {
  const text = typeof value === "object" && value !== null
    ? Object.prototype.toString.call(value) // its own `toString` may be no function
    : String(value);
  if (text.length <= MAX_TEXT) return text;
  return JSON.parse(JSON.stringify(text.slice(0, MAX_TEXT))); // a copy: a slice would keep the whole of it
}
