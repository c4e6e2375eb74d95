import type { ConnectionInfo, Decision, Handle, Terminate } from "../../core/plugin/mod.ts";
import { printable } from "./auth/printable.ts";
import type { WsAgentConfig } from "./config.ts";
import type { Directory, Found } from "./directory.ts";
import { isUnder, nameKey, portKey } from "./names.ts";
import { DATA_PURPOSE } from "./plain/data_endpoint.ts";
import type { PublicStreams } from "./public_streams.ts";
import { PRESENCE_PURPOSE } from "./session/presence.ts";

const HANDLE: Handle = Object.freeze({ kind: "handle" });

/** For agents: a WebSocket is opened by HTTP/1.1. */
export const TERMINATE_FOR_AGENTS: Terminate = Object.freeze({
  kind: "terminate",
  alpn: Object.freeze(["http/1.1"]),
  then: HANDLE,
});

/** For the public of services that are no HTTP, behind TLS. */
const TERMINATE_FOR_TCP: Terminate = Object.freeze({ kind: "terminate", then: HANDLE });

/** For the public. */
export const TERMINATE_FOR_HTTP: Terminate = Object.freeze({
  kind: "terminate",
  alpn: Object.freeze(["h2", "http/1.1"]),
  then: HANDLE,
});

export interface RouterTools {
  /** The plugin's word in the config: what its own listeners are called. */
  readonly name: string;
  readonly config: () => WsAgentConfig;
  readonly directory: Directory;
  readonly streams: Pick<PublicStreams, "whenBack">;
}

/** Decides where connections go. Only one that has to wait for an agent takes more than a look or two into tables. */
export class TunnelRouter {
  readonly #tools: RouterTools;

  constructor(tools: RouterTools) {
    this.#tools = tools;
  }

  route(
    connection: ConnectionInfo,
    options: { readonly signal: AbortSignal },
  ): Decision | undefined | Promise<Decision | undefined> {
    const { name, config } = this.#tools;
    const { handedOver, listener, listenerKind, destination, tls } = connection;
    const purpose = handedOver?.purpose;
    if (purpose !== undefined) return isForUs(purpose) ? HANDLE : openDecision(purpose);
    if (listener === name) return this.#routePort(portKey(destination.port), connection, options);
    const host = tls?.serverName;
    if (host !== undefined) return this.#routeName(host, connection, options);
    const { plainHttp, plainEndpoint } = config();
    return listenerKind === "http" && (plainHttp || plainEndpoint) ? HANDLE : undefined;
  }

  #routeName(
    host: string,
    connection: ConnectionInfo,
    options: { readonly signal: AbortSignal },
  ): Decision | undefined | Promise<Decision | undefined> {
    const { config, directory } = this.#tools;
    const { domain, endpoint } = config();
    const isTls = connection.protocol === "tls";
    if (host === endpoint) return isTls ? TERMINATE_FOR_AGENTS : undefined;
    const key = nameKey(host);
    const found = directory.find(key, { elsewhere: true });
    if (found.kind === "nobody") return isTls && isUnder(host, domain) ? TERMINATE_FOR_HTTP : undefined;
    if (found.kind === "there" && connection.handedOver === undefined) {
      return { kind: "handover", node: found.node };
    }
    const protocol = found.kind === "here" ? found.service.protocol : found.protocol;
    if (protocol === "http" || protocol === "tcp-tls") {
      // Each request, or whoever relays, waits for the agent by itself.
      if (isTls) return protocol === "http" ? TERMINATE_FOR_HTTP : TERMINATE_FOR_TCP;
      return { kind: "reject", reason: "not_supported", detail: `${protocol} tunnel, and no TLS` };
    }
    return found.kind === "held" ? this.#routeWhenBack(key, connection, options) : passOn(key, found);
  }

  /**
   * Also when the tunnel ends in another data plane it is opened from here: who connects to a port may wait for the
   * service to speak first, and a handover begins with the client's bytes.
   */
  #routePort(
    key: string,
    connection: ConnectionInfo,
    options: { readonly signal: AbortSignal },
  ): Decision | Promise<Decision> {
    const found = this.#tools.directory.find(key, { elsewhere: true });
    if (found.kind === "there") return openDecision(key);
    return found.kind === "held" ? this.#routeWhenBack(key, connection, options) : passOn(key, found);
  }

  async #routeWhenBack(
    key: string,
    connection: ConnectionInfo,
    { signal }: { readonly signal: AbortSignal },
  ): Promise<Decision> {
    const found = await this.#tools.streams.whenBack({ key, connection, signal });
    if (found === undefined) {
      return { kind: "reject", reason: "unavailable", detail: "its agent is gone, and did not come back" };
    }
    if (found.kind === "there" && connection.tls !== undefined && connection.handedOver === undefined) {
      return { kind: "handover", node: found.node };
    }
    return passOn(key, found);
  }
}

/** What data planes want of each other beside streams to services, whose keys have a colon. */
function isForUs(purpose: string): boolean {
  return purpose === DATA_PURPOSE || purpose === PRESENCE_PURPOSE;
}

function passOn(key: string, found: Found): Decision {
  switch (found.kind) {
    case "full":
      return { kind: "reject", reason: "over_limit", detail: found.limit };
    case "here":
      return openDecision(key, targetOf(found));
    case "there":
      return openDecision(key);
    case "held":
    case "nobody":
      return { kind: "reject", reason: "unavailable", detail: "its agent is gone" };
  }
}

/** A service, and the tunnel that leads to it; of one that is shared, the tunnel is chosen when the stream is opened. */
function targetOf({ service: { asked }, session }: Extract<Found, { kind: "here" }>): string {
  return asked.shared ? asked.name : `${asked.name}@${session.id.slice(0, 8)}`;
}

/** @param target Of the key's service; absent: not known here. */
function openDecision(key: string, target: string = key): Decision {
  return { kind: "open", target: printable(target, 100) };
}
