import type { AgentEvent } from "../plugins/ws-agent/agent/events.ts";
import { LiveView } from "./live_view.ts";
import { print, printHint } from "./print.ts";
import { renderTunnel, requestLine, safe } from "./render_tunnel.ts";
import { again, type TunnelState } from "./tunnel_state.ts";

/** What a quick command shows: the whole terminal, or plain lines. */
export interface TunnelOutput extends Disposable {
  event(event: AgentEvent): void;
  notice(text: string): void;
  /** Requests are shown there. */
  inspector(url: string): void;
  /** The state is another one than before, without an event. */
  changed(): void;
}

/** Shows a tunnel on standard output. What happens to it goes into its state by the way. */
export function openTunnelOutput(state: TunnelState): TunnelOutput {
  return Deno.stdout.isTerminal() ? liveOutput(state) : plainOutput(state);
}

function liveOutput(state: TunnelState): TunnelOutput {
  const color = !Deno.noColor;
  const view = new LiveView((size) => renderTunnel(state, { ...size, color }));
  return {
    event(event) {
      state.apply(event, Date.now());
      view.changed();
    },
    notice(text) {
      state.notice(text, Date.now());
      view.changed();
    },
    inspector(url) {
      state.inspector = url;
      view.changed();
    },
    changed: () => view.changed(),
    [Symbol.dispose]() {
      view[Symbol.dispose]();
      if (state.url !== undefined) print(`${safe(state.url)} was open; ${served(state)}\n`);
    },
  };
}

function served({ service, requestsTotal, status }: TunnelState): string {
  return service.protocol === "http"
    ? counted(requestsTotal, "request")
    : counted(status?.streamsTotal ?? 0, "connection");
}

function counted(count: number, what: string): string {
  return `${count} ${what}${count === 1 ? "" : "s"}`;
}

/** The public address first, so that a script can read it; then a line a request. Everything else is for people. */
function plainOutput(state: TunnelState): TunnelOutput {
  const notice = (text: string) => unlessUnread(() => printHint(`postern: ${text}\n`));
  return {
    event(event) {
      const { url, state: before } = state;
      state.apply(event, Date.now());
      if (event.kind === "public" && event.url !== url) unlessUnread(() => print(`${safe(event.url)}\n`));
      else if (event.kind === "request") unlessUnread(() => print(`${requestLine(event)}\n`));
      else {
        const text = plainNotice(event, before);
        if (text !== undefined) notice(text);
      }
    },
    notice,
    inspector(url) {
      if (state.inspector !== url) notice(`Requests are shown at ${url}`);
      state.inspector = url;
    },
    changed() {},
    [Symbol.dispose]() {},
  };
}

/** Who reads may be gone, as `head -1` is soon: that ends the telling, and not the tunnel. */
function unlessUnread(write: () => void): void {
  try {
    write();
  } catch (error) {
    if (!(error instanceof Deno.errors.BrokenPipe)) throw error;
  }
}

/** @param before The state before the event. */
function plainNotice(event: AgentEvent, before: TunnelState["state"]): string | undefined {
  switch (event.kind) {
    case "connected":
      return before === "reconnecting" ? "Connected again" : undefined;
    case "disconnected": {
      const what = event.wasConnected ? "A connection to the gateway ended: " : "";
      return `${what}${safe(event.reason)}; ${again(event.retryMs)}`;
    }
    case "refused":
      return `The gateway does not take "${event.service}": ${safe(event.reason)}; ${again(event.retryMs)}`;
    case "target_failed":
      return `${event.target}: ${safe(event.reason)}`;
    default:
      return undefined;
  }
}
