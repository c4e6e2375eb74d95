import { LogOnce } from "../../../core/data_plane/log_once.ts";
import { type Log, z } from "../../../core/plugin/mod.ts";
import { Lru } from "../../../core/tls/lru.ts";
import { type Fetch, fetchJson, NoAnswer, serverOf } from "./bounded_fetch.ts";
import type { Clock } from "../clock.ts";
import type { RequestedService } from "./grant.ts";
import { isPartyName, printable } from "./printable.ts";
import { digestOf } from "./token.ts";
import { TOKEN_LIMITS, type TokenLimits } from "./token_limits.ts";

/** Who lost access is out after this at the latest, whatever the controller says. */
const MAX_TTL_MS = 300_000;
const MAX_REMEMBERED = 8192;
/** Questions at once; strangers cause them. More than this means that the controller is too slow to be of use. */
const MAX_AT_ONCE = 256;
/** What an agent is shown of a reason. */
const MAX_REASON_LENGTH = 200;

/** What the controller is asked about. */
export interface Question {
  readonly token: string;
  readonly clientAddress: string;
  /** Absent: whether this is anybody at all. */
  readonly service?: RequestedService | undefined;
  /** Instead of a service to register: a private one of somebody else that is to be reached, as `OWNER/NAME`. */
  readonly access?: string | undefined;
}

/** Yes. */
export interface AllowedAnswer {
  readonly kind: "allowed";
  readonly subject: string;
  /** By the monotonic clock, in milliseconds. */
  readonly goodUntil: number;
  /** Whether a service may be shared that asks for it; a controller that does not know of this does not say so. */
  readonly share: boolean;
  readonly limits?: TokenLimits | undefined;
}

export type Answer =
  | AllowedAnswer
  | { readonly kind: "refused"; readonly reason: string }
  /** No answer, or none that can be used: nobody gets in. */
  | { readonly kind: "unavailable" };

export interface ControllerTools {
  readonly clock: Clock;
  readonly fetch: Fetch;
  readonly log: Log;
}

const answer = z.discriminatedUnion("allow", [
  z.object({
    allow: z.literal(true),
    subject: z.string().refine(isPartyName, "Expected a subject of at most 256 printable characters"),
    ttl: z.number().min(0).default(0),
    share: z.boolean().default(false),
    limits: TOKEN_LIMITS.optional(),
    /** Told where an access was asked about: else a controller that knows of none would allow all of them. */
    access: z.boolean().default(false),
  }),
  z.object({ allow: z.literal(false), reason: z.string().default("") }),
]);

/** Asks a controller, an HTTP server that knows the tokens; remembers what it allows for as long as it says. */
export class ControllerClient implements Disposable {
  readonly #url: string;
  readonly #timeoutMs: number;
  readonly #tools: ControllerTools;
  readonly #allowed = new Lru<AllowedAnswer>(MAX_REMEMBERED);
  readonly #life = new AbortController();
  readonly #told = new LogOnce();
  #asking = 0;

  constructor(url: string, timeoutMs: number, tools: ControllerTools) {
    this.#url = url;
    this.#timeoutMs = timeoutMs;
    this.#tools = tools;
  }

  /** @param signal Aborted when nobody waits for the answer any more. Never rejects. */
  async ask(question: Question, signal?: AbortSignal): Promise<Answer> {
    const key = keyOf(question);
    const known = this.#allowed.get(key);
    if (known !== undefined && known.goodUntil > this.#tools.clock.monotonic()) return known;
    if (this.#asking >= MAX_AT_ONCE) return this.#failed(`${MAX_AT_ONCE} questions are open already`);
    this.#asking++;
    try {
      const found = await this.#fetch(question, signal);
      if (found.kind === "allowed") this.#allowed.set(key, found);
      return found;
    } catch (error) {
      if (signal?.aborted || this.#life.signal.aborted) return { kind: "unavailable" };
      return this.#failed(error instanceof NoAnswer ? error.message : "The answer can't be read");
    } finally {
      this.#asking--;
    }
  }

  /** Ends every question that is open. */
  [Symbol.dispose](): void {
    this.#life.abort();
    this.#allowed.clear();
  }

  async #fetch({ token, clientAddress, service, access }: Question, signal?: AbortSignal): Promise<Answer> {
    const life = this.#life.signal;
    const body = await fetchJson(this.#tools.fetch, this.#url, {
      method: "POST",
      headers: { "content-type": "application/json", accept: "application/json" },
      body: JSON.stringify({
        token,
        clientAddress,
        ...(service && { service: toTell(service) }),
        ...(access !== undefined && { access: { service: access } }),
      }),
      timeoutMs: this.#timeoutMs,
      signal: signal === undefined ? life : AbortSignal.any([signal, life]),
    });
    const said = answer.parse(body);
    if (!said.allow) return { kind: "refused", reason: printable(said.reason, MAX_REASON_LENGTH) };
    if (access !== undefined && !said.access) return { kind: "refused", reason: "It does not say access" };
    const ttlMs = Math.min(said.ttl * 1000, MAX_TTL_MS);
    const { subject, share, limits } = said;
    return { kind: "allowed", subject, share, limits, goodUntil: this.#tools.clock.monotonic() + ttlMs };
  }

  #failed(reason: string): Answer {
    if (this.#told.may(reason)) {
      this.#tools.log.warn("controller_unavailable", { server: serverOf(this.#url), reason });
    }
    return { kind: "unavailable" };
  }
}

/** An answer is for this token, from this address, for this service. */
function keyOf({ token, clientAddress, service, access }: Question): string {
  return `${digestOf(token).toHex()} ${clientAddress} ${
    service ? JSON.stringify(toTell(service)) : access ?? ""
  }`;
}

function toTell(
  { name, protocol, hostname, port, shared, private: isPrivate }: RequestedService,
): Record<string, string | number | boolean> {
  return {
    name,
    protocol,
    ...(hostname !== undefined && { hostname }),
    ...(port !== undefined && { port }),
    ...(shared && { shared }),
    ...(isPrivate && { private: true }),
  };
}
