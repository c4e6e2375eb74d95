import { createLog, type LogEvent } from "../../../../core/log.ts";
import type { Log, PluginFiles } from "../../../../core/plugin/mod.ts";
import type {
  AgentAuthenticator,
  AuthConfig,
  AuthResult,
  Grant,
} from "../../../../plugins/ws-agent/auth/mod.ts";
import { createAuthenticator } from "../../../../plugins/ws-agent/auth/mod.ts";
import { digestOf } from "../../../../plugins/ws-agent/auth/token.ts";
import type { Clock } from "../../../../plugins/ws-agent/clock.ts";

export const NOW: number = Date.parse("2026-11-21T12:00:00Z");
export const DOMAIN = "example.com";
/** An agent's address that nothing was heard of. */
export const SOURCE = "192.0.2.1";

/** Time that moves when the test says so, or at once to whatever is waited for. */
export class TestClock implements Clock {
  now = NOW;
  readonly #mode: "still" | "hasty";
  readonly #timers = new Set<{ readonly due: number; readonly task: () => void }>();

  constructor(mode: "still" | "hasty" = "hasty") {
    this.#mode = mode;
  }

  get timers(): number {
    return this.#timers.size;
  }

  monotonic(): number {
    return this.now - NOW + 1_000_000;
  }

  wall(): number {
    return this.now;
  }

  after(ms: number, task: () => void): () => void {
    const timer = { due: this.now + ms, task };
    this.#timers.add(timer);
    if (this.#mode === "hasty") queueMicrotask(() => this.advance(Math.max(0, timer.due - this.now)));
    return () => void this.#timers.delete(timer);
  }

  every(): () => void {
    throw new TypeError("Nothing here is done again and again");
  }

  advance(ms: number): void {
    this.now += ms;
    for (const timer of [...this.#timers].toSorted((a, b) => a.due - b.due)) {
      if (timer.due <= this.now && this.#timers.delete(timer)) timer.task();
    }
  }
}

/** An authenticator, and all that can be seen of it. */
export interface Opened extends Disposable {
  readonly auth: AgentAuthenticator;
  readonly clock: TestClock;
  readonly events: readonly LogEvent[];
  /** Tries a token, from {@link SOURCE} if nothing else is said. */
  try(token: string, source?: string): Promise<AuthResult>;
}

export interface OpenOptions extends Partial<AuthConfig> {
  readonly files?: PluginFiles;
  readonly clock?: TestClock;
  readonly failedAuthPerMinute?: number;
}

export function open(options: OpenOptions = {}): Opened {
  const { files = {}, clock = new TestClock() } = options;
  const events: LogEvent[] = [];
  const auth = createAuthenticator(configOf(options), files, { log: recordInto(events), clock });
  const { signal } = new AbortController();
  return {
    auth,
    clock,
    events,
    try: (token, source = SOURCE) => auth.authenticate(token, source, { signal }),
    [Symbol.dispose]: () => auth[Symbol.dispose](),
  };
}

export function configOf(
  { domain = DOMAIN, tokens, jwt, controller, failedAuthPerMinute = 1000 }: OpenOptions,
): AuthConfig {
  return { domain, tokens, jwt, controller, limits: { failedAuthPerMinute } };
}

function recordInto(events: LogEvent[]): Log {
  return createLog("test", "debug", (event) => events.push(event));
}

/** @throws When it was refused. */
export function grantOf(result: AuthResult): Grant {
  if ("grant" in result) return result.grant;
  throw new Error(`Refused: ${result.refusal.reason}, ${result.refusal.message}`);
}

/** Why it was refused, or `granted`. */
export function reasonOf(result: AuthResult): string {
  return "grant" in result ? "granted" : result.refusal.reason;
}

/** An entry of a token file, as one line of YAML. */
export function entryOf(id: string, token: string, more = ""): string {
  const sha256 = digestOf(token).toHex();
  return `- { id: ${id}, sha256: "${sha256}", created: 2026-01-01${more && `, ${more}`} }\n`;
}

/** A server on loopback whose answer the test chooses each time. */
export interface TestServer extends AsyncDisposable {
  readonly url: string;
  /** How often it was asked. */
  readonly asked: number;
  answer(handler: (request: Request) => Response | Promise<Response>): void;
}

export function serve(handler: (request: Request) => Response | Promise<Response>): TestServer {
  let current = handler;
  let asked = 0;
  const server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {} }, (request) => {
    asked++;
    return current(request);
  });
  return {
    url: `http://127.0.0.1:${server.addr.port}/`,
    get asked() {
      return asked;
    },
    answer: (next) => void (current = next),
    [Symbol.asyncDispose]: () => server.shutdown(),
  };
}

/** Bodies that no client should wait for, or take. */
export function hangingResponse(signal: AbortSignal): Response {
  const body = new ReadableStream({
    start(controller) {
      controller.enqueue(new TextEncoder().encode("{"));
      signal.addEventListener("abort", () => controller.close());
    },
  });
  return new Response(body, { headers: { "content-type": "application/json" } });
}
