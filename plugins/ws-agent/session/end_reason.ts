/** Why a tunnel ended, as it is logged. */
export type EndReason =
  | "agent_left"
  | "connection_lost"
  | "heartbeat_timeout"
  | "protocol_error"
  | "control_flood"
  | "control_stalled"
  | "replaced"
  | "superseded"
  | "token_expired"
  | "token_revoked"
  | "service_revoked"
  | "idle_timeout"
  | "closed_by_admin"
  | "drained"
  | "gateway_stopped";

/** What the agent is told, when it may be there to hear it. Only what nobody but itself may know anyway. */
const FAREWELLS: Partial<Record<EndReason, string>> = {
  control_flood: "Too many control messages",
  superseded: "A newer run of this agent has taken over",
  token_expired: "The token has expired",
  token_revoked: "The token is no longer valid",
  service_revoked: "The token may no longer register one of the services",
  idle_timeout: "No connections for as long as idleTimeout",
  closed_by_admin: "Closed by the operator of the gateway",
  drained: "The gateway is going away; reconnect elsewhere",
  gateway_stopped: "The gateway is going away; reconnect elsewhere",
};

export function farewellOf(reason: EndReason): string | undefined {
  return FAREWELLS[reason];
}

/** Nobody will come back with the same proof: what it held is free at once. */
export function keepsNames(reason: EndReason): boolean {
  return reason !== "token_revoked" && reason !== "token_expired";
}
