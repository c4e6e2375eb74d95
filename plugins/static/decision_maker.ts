import type { Forward, Terminate } from "../../core/plugin/mod.ts";
import type { RouteConfig } from "./config.ts";
import { POSTGRES_ALPN } from "./route_table.ts";
import type { DecisionMaker } from "./target_group.ts";

/**
 * Makes the frozen decisions of one route. A route that terminates carries what happens behind the handshake with
 * it, so the name is never looked up a second time.
 */
export function decisionMaker({ terminate, alpn, proxyProtocol, protocol }: RouteConfig): DecisionMaker {
  const forward = (to: readonly string[]): Forward => {
    const [only = "", ...others] = to;
    return Object.freeze({
      kind: "forward",
      to: others.length === 0 ? only : Object.freeze([...to]),
      proxyProtocol,
    });
  };
  if (!terminate) return forward;
  const agreed = Object.freeze(alpn ?? (protocol === "postgres" ? [POSTGRES_ALPN] : undefined));
  return (to): Terminate =>
    Object.freeze({ kind: "terminate", then: forward(to), ...(agreed && { alpn: agreed }) });
}
