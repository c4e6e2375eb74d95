import type { RecentEvent } from "../data_plane/snapshot.ts";
import type { LogEvent, LogFields } from "../log.ts";

/** Enough for an afternoon of a gateway at peace; about 100 KB. */
const MAX_EVENTS = 200;
/** Repetitions within this time are one event. */
const REPEAT_MS = 60_000;
/** Events that may have repetitions at once. */
const MAX_REPEATED = 64;
/** Fields come from strangers in part. */
const MAX_FIELDS = 12;
const MAX_TEXT = 200;

/** Which events at `info` are worth a look later; those at `warn` and `error` all are. */
const WORTH_A_LOOK =
  /^(?:tunnel_opened|tunnel_closed|reloaded|draining|admin_|acme|certificate|cloudflared_|database_|plugin_|target_healthy)/;

/** What a stranger can make happen as often as he likes: it is counted, so that it drives out nothing else. */
const BY_STRANGERS: ReadonlySet<string> = new Set([
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

interface Kept {
  sequence: number;
  count: number;
  event: LogEvent;
  readonly since: number;
}

/** The last things that happened, a bounded number of them. */
export class RecentEvents {
  #kept: Kept[] = [];
  /** The entry that another of its kind is added to. */
  readonly #repeated = new Map<string, Kept>();
  #sequence = 0;

  /** That of the last event; 0 before there was one. */
  get sequence(): number {
    return this.#sequence;
  }

  /** Takes note of what was logged, if it is worth that. */
  add(event: LogEvent): void {
    const byStrangers = BY_STRANGERS.has(event.event);
    if (
      !byStrangers && (event.level === "debug" || event.level === "info") && !WORTH_A_LOOK.test(event.event)
    ) {
      return;
    }
    if (!byStrangers) this.#keep(event);
    else this.#count(event);
  }

  /** What happened, or happened again, after `sequence`; oldest first. */
  since(sequence: number): RecentEvent[] {
    return this.#kept.filter((one) => one.sequence > sequence).sort((a, b) => a.sequence - b.sequence)
      .slice(-MAX_EVENTS)
      .map(({ event, sequence, count }) => ({ ...event, fields: bounded(event.fields), sequence, count }));
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
    this.#repeated.set(kind, this.#keep(event));
  }

  #keep(event: LogEvent): Kept {
    const kept = { sequence: ++this.#sequence, count: 1, event, since: event.time };
    this.#kept.push(kept);
    if (this.#kept.length > 2 * MAX_EVENTS) { // not at every one: that would move all of them each time
      this.#kept = this.#kept.sort((a, b) => a.sequence - b.sequence).slice(-MAX_EVENTS);
      for (const [kind, one] of this.#repeated) if (!this.#kept.includes(one)) this.#repeated.delete(kind);
    }
    return kept;
  }
}

/** By the reason, where it is one of the gateway's own words: there is an end to them. */
function kindOf({ event, fields }: LogEvent): string {
  const reason = fields["result"] ?? fields["reason"];
  return typeof reason === "string" && /^[a-z_]{1,40}$/.test(reason) ? `${event} ${reason}` : event;
}

function bounded(fields: LogFields): LogFields {
  const some = Object.entries(fields).filter(([, value]) => value !== undefined).slice(0, MAX_FIELDS);
  return Object.fromEntries(
    some.map(([name, value]) => [name, typeof value === "string" ? value.slice(0, MAX_TEXT) : value]),
  );
}
