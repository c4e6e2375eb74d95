import type { Lease } from "../../../core/plugin/mod.ts";
import type { RequestedService } from "../auth/grant.ts";
import { type Balance, BALANCES, type RegisterService } from "../control/messages.ts";
import type { TunnelSession } from "./session.ts";

/** What {@link RequestedService} says of sharing. */
export function sharedOf({ shared }: RegisterService): Pick<RequestedService, "shared"> {
  return shared ? { shared } : {};
}

/** What agents have in common that serve this together. The last two words hold no spaces: it tells all three apart. */
export function shareOf(
  { grant }: Pick<TunnelSession, "grant">,
  { protocol, name, shared }: RequestedService,
): string | undefined {
  return shared && `${grant.principal} ${protocol} ${name}`;
}

/** How connections to a shared lease are spread. */
export function balanceOf({ value }: Lease): Balance {
  return BALANCES.find((one) => one === value["balance"]) ?? "least-streams";
}
