import type { Lease } from "../../../core/plugin/mod.ts";
import type { RequestedService } from "../auth/grant.ts";
import type { Uuid } from "../control/messages.ts";
import type { LeaseKey } from "../names.ts";

/** Something that an agent has made public by one of its connections. */
export interface Service {
  readonly id: Uuid;
  /** Its lease. */
  readonly key: LeaseKey;
  readonly protocol: PublicProtocol;
  /** As its agent was allowed to have it; asked about again when grants change. */
  readonly asked: RequestedService;
  /** The host as its agent has written it; absent: the agent has named none. */
  readonly hostAsked?: string | undefined;
  /** Where the public reaches it. */
  readonly url: string;
  /** The public port of `tcp` and `udp`. */
  readonly port?: number | undefined;
  /** As its agent tells it, fit to be shown. */
  readonly target?: string | undefined;
}

/** What can be public. `tcp-tls`: by TLS that the gateway terminates, and the bytes in it to the agent as they are. */
export type PublicProtocol = "http" | "tls" | "tcp" | "udp" | "tcp-tls";

const PUBLIC_PROTOCOLS: readonly PublicProtocol[] = ["http", "tls", "tcp", "udp", "tcp-tls"];

/** What a lease says of the protocol behind it. */
export function protocolOf({ value }: Lease): PublicProtocol | undefined {
  const protocol = value["protocol"];
  return PUBLIC_PROTOCOLS.find((known) => known === protocol);
}
