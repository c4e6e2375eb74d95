import type { AgentEvent, AgentStatus, RequestSeen } from "../plugins/ws-agent/agent/events.ts";
import type { AgentService } from "../plugins/ws-agent/agent/settings.ts";
import { formatTarget } from "../plugins/ws-agent/agent/target.ts";

/** Requests that are remembered: more than any terminal has lines. */
const MAX_REQUESTS = 200;
const MAX_NOTICES = 3;

/** Something that the user should know, and cannot see from the rest. */
export interface Notice {
  /** Milliseconds since 1970. */
  readonly time: number;
  readonly text: string;
}

/** What a quick command knows of its one tunnel. */
export class TunnelState {
  readonly service: AgentService;
  readonly target: string;
  readonly gateway: string;
  /** Where the public reaches it, once it does. */
  url: string | undefined;
  /** Where requests are shown, when they are. */
  inspector: string | undefined;
  /** `refused`: the gateway is there, and does not take the service for now. */
  state: "connecting" | "online" | "reconnecting" | "refused" | "stopping" = "connecting";
  /** Why it is not online. */
  detail = "";
  status: AgentStatus | undefined;
  /** Newest last. */
  readonly requests: RequestSeen[] = [];
  requestsTotal = 0;
  readonly notices: Notice[] = [];
  /** Whether the gateway has let the agent in at all. */
  wasIn = false;
  readonly #connected = new Set<number>();
  #isPublic = false;

  constructor(service: AgentService, gateway: string) {
    this.service = service;
    this.target = formatTarget(service.target);
    this.gateway = gateway;
  }

  /** @param now Milliseconds since 1970. */
  apply(event: AgentEvent, now: number): void {
    switch (event.kind) {
      case "connected":
        this.wasIn = true;
        this.#connected.add(event.connection);
        if (this.#isPublic) this.#setState("online", "");
        break;
      case "disconnected":
        this.#connected.delete(event.connection);
        if (this.#connected.size === 0) {
          this.#setState(
            this.#isPublic ? "reconnecting" : "connecting",
            `${event.reason}; ${again(event.retryMs)}`,
          );
        }
        break;
      case "public":
        this.#isPublic = true;
        this.url = event.url;
        this.#setState("online", "");
        break;
      case "refused":
        this.#isPublic = false;
        this.#setState("refused", `${event.reason}; ${again(event.retryMs)}`);
        break;
      case "target_failed":
        this.notice(`${event.target}: ${event.reason}`, now);
        break;
      case "request":
        this.requestsTotal++;
        this.requests.push(event);
        if (this.requests.length > MAX_REQUESTS) this.requests.shift();
        break;
    }
  }

  notice(text: string, now: number): void {
    if (this.notices.at(-1)?.text === text) this.notices.pop(); // said again: only when is new
    this.notices.push({ time: now, text });
    if (this.notices.length > MAX_NOTICES) this.notices.shift();
  }

  #setState(state: TunnelState["state"], detail: string): void {
    this.state = state;
    this.detail = detail;
  }
}

/** `trying again in 1.2 s`. */
export function again(ms: number): string {
  return `trying again in ${ms < 10_000 ? (ms / 1000).toFixed(1) : Math.round(ms / 1000)} s`;
}
