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
  /** Where the public reaches it. */
  readonly url: string;
  /** The public port of `tcp`. */
  readonly port?: number | undefined;
  /** As its agent tells it, fit to be shown. */
  readonly target?: string | undefined;
}

/** What can be public. */
export type PublicProtocol = "http" | "tls" | "tcp";

/** What a lease says of the protocol behind it. */
export function protocolOf({ value }: Lease): PublicProtocol | undefined {
  const protocol = value["protocol"];
  return protocol === "http" || protocol === "tls" || protocol === "tcp" ? protocol : undefined;
}
