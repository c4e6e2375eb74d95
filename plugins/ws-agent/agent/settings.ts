import type { Balance, ServiceProtocol } from "../control/messages.ts";
import type { GatewayAddress } from "./gateway_address.ts";
import type { ConnectionHandler } from "./in_process/handler.ts";
import type { ProxyAddress } from "./proxy/proxy_address.ts";
import type { Target } from "./target.ts";

/** What an agent is to do. Plain data; every time in milliseconds. */
export interface AgentSettings {
  readonly gateway: GatewayAddress;
  /**
   * Tells this agent from others that show the same token. The same after a restart: then it has its names back at once. Of two
   * agents with the same name and token that run at the same time, the one that was started last stays.
   */
  readonly name: string;
  readonly credentials: Credentials;
  readonly tls: GatewayTls;
  /** By which the gateway is reached, and by nothing else then. Absent: directly. */
  readonly proxy?: ProxyAddress;
  /** Parallel connections to the gateway; each serves all services. 1 to {@link MAX_CONNECTIONS}. */
  readonly connections: number;
  /** The bounds of the wait before the next attempt to connect. */
  readonly reconnect: { readonly minMs: number; readonly maxMs: number };
  readonly services: readonly AgentService[];
}

/** Much more than one thread can make use of. */
export const MAX_CONNECTIONS = 16;

/** What is shown to the gateway: a token as it is, or a JWT (HS256) that is made anew for each connection. */
export type Credentials =
  | { readonly token: string }
  | { readonly jwt: { readonly secret: string; readonly issuer?: string; readonly expiresInMs: number } };

export interface GatewayTls {
  /** CAs to trust beside those of the runtime, PEM. */
  readonly extraCa?: string;
  /** Takes any certificate. For trying things out: whoever is on the way can read everything. */
  readonly insecure: boolean;
}

/** One local service, and what the public side of it is to be. */
export interface AgentService {
  /** Unique within the agent. */
  readonly name: string;
  readonly protocol: ServiceProtocol;
  readonly target: Target;
  readonly hostname?: string;
  /** Of a udp target that is a name, as far as they were known when the agent was confined: it may send to these. */
  readonly addresses?: readonly string[];
  /** 0 or absent: assigned by the gateway. */
  readonly remotePort?: number;
  readonly private?: boolean;
  /** Whether other agents with the same token serve it, too. */
  readonly share?: boolean;
  /** How the gateway spreads connections over those who share it. */
  readonly balance?: Balance;
  /** Serves its connections in this program; {@link target} is {@link IN_PROCESS} then. Does not cross to a worker. */
  readonly handler?: ConnectionHandler;
  /** Which PROXY header the target is sent, to tell it the public client's address. `v1` is not for udp, `simple` for nothing else. */
  readonly proxyProtocol: "off" | "v1" | "v2" | "simple";
}

/** What a service is to the gateway. Two services with the same one are the same registration, wherever they lead. */
export function registrationKey(service: AgentService): string {
  const { name, protocol, hostname, remotePort, private: isPrivate, share, balance } = service;
  return JSON.stringify([
    name,
    protocol,
    hostname ?? "",
    remotePort ?? 0,
    isPrivate === true,
    share === true,
    balance ?? "",
  ]);
}
