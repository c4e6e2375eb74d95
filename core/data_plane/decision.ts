import type { Decision, Forward, Handle, Reject, Terminate } from "../plugin/contract.ts";

const REASONS: ReadonlySet<unknown> = new Set(
  [
    "unknown_name",
    "no_server_name",
    "forbidden",
    "bad_certificate",
    "unavailable",
    "timeout",
    "over_limit",
    "not_supported",
  ] satisfies Reject["reason"][],
);
const PROXY_MODES: ReadonlySet<unknown> = new Set(["off", "v1", "v2", "pass", undefined]);

/** Whether a plugin's answer is a decision. Plugins may run in another worker, and may be anybody's code. */
export function isDecision(value: unknown): value is Decision {
  const decision = value as Decision | null;
  if (typeof decision !== "object" || decision === null) return false;
  return decision.kind === "terminate" ? isTerminate(decision) : isFinal(decision);
}

function isFinal(decision: Forward | Handle | Reject): boolean {
  switch (decision.kind) {
    case "forward":
      return isTargets(decision.to) && PROXY_MODES.has(decision.proxyProtocol);
    case "handle":
      return true;
    case "reject":
      return REASONS.has(decision.reason);
    default:
      return false;
  }
}

function isTargets(to: unknown): boolean {
  return typeof to === "string" ||
    (Array.isArray(to) && to.length > 0 && to.every((one) => typeof one === "string"));
}

function isTerminate({ then, alpn, clientCertificate }: Terminate): boolean {
  return (then === undefined || (typeof then === "object" && then !== null && isFinal(then))) &&
    (alpn === undefined || (Array.isArray(alpn) && alpn.every((one) => typeof one === "string"))) &&
    (clientCertificate === undefined ||
      ((clientCertificate.mode === "request" || clientCertificate.mode === "require") &&
        typeof clientCertificate.ca === "string" && clientCertificate.ca !== ""));
}
