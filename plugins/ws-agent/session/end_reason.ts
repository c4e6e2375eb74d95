import { formatReason, type ReasonWord } from "../control/reason.ts";

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
  | "registration_refused"
  | "idle_timeout"
  | "closed_by_admin"
  | "drained"
  | "gateway_stopped";

/** What an agent reads of which there is a newer run, whether it is in or wants to be. */
export const SUPERSEDED = "A newer run of this agent has taken over";
const GOING_AWAY = "The gateway is going away; reconnect elsewhere";

/** What the agent is told, when it may be there to hear it. Only what nobody but itself may know anyway. */
const FAREWELLS: Partial<Record<EndReason, readonly [word: ReasonWord, text: string]>> = {
  control_flood: ["control_flood", "Too many control messages"],
  superseded: ["superseded", SUPERSEDED],
  token_expired: ["token_expired", "The token has expired"],
  token_revoked: ["token_revoked", "The token is no longer valid"],
  service_revoked: ["service_revoked", "The token may no longer register one of the services"],
  idle_timeout: ["idle_timeout", "No connections for as long as idleTimeout"],
  closed_by_admin: ["closed_by_admin", "Closed by the operator of the gateway"],
  drained: ["going_away", GOING_AWAY],
  gateway_stopped: ["going_away", GOING_AWAY],
};

/**
 * What goes into its Disconnect; `undefined`: it is told nothing.
 *
 * @param detail What it did wrong, for `protocol_error`; for `registration_refused` all that it is told.
 */
export function farewellOf(reason: EndReason, detail?: string): string | undefined {
  if (reason === "registration_refused") return detail;
  if (reason === "protocol_error") return detail && formatReason("protocol_error", detail);
  const farewell = FAREWELLS[reason];
  return farewell && formatReason(...farewell);
}

/**
 * Whether what it held is kept for it. Nobody will come back with a proof that is over, but who makes the proof anew for
 * every connection.
 */
export function keepsNames(reason: EndReason, renewsToken: boolean): boolean {
  if (reason === "token_expired") return renewsToken;
  return reason !== "token_revoked" && reason !== "registration_refused";
}
