import type { Decision, Forward, Reject, Terminate, UpstreamTls } from "../plugin/contract.ts";

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
const TLS_VERSIONS: ReadonlySet<unknown> = new Set(["TLSv1.2", "TLSv1.3", undefined]);
/** What a PROXY v2 header holds beside two IPv6 addresses, and what stands before each TLV. */
const MAX_TLV_BYTES = 65_535 - 36, TLV_HEADER_BYTES = 3;

/** Whether a plugin's answer is a decision. Plugins may run in another worker, and may be anybody's code. */
export function isDecision(value: unknown): value is Decision {
  const decision = value as Decision | null;
  if (typeof decision !== "object" || decision === null) return false;
  if (decision.kind === "terminate") return isTerminate(decision);
  if (decision.kind === "handover") return typeof decision.node === "string";
  return isFinal(decision);
}

function isFinal(decision: NonNullable<Terminate["then"]>): boolean {
  switch (decision.kind) {
    case "forward":
      return isForward(decision);
    case "handle":
      return true;
    case "open":
      return typeof decision.target === "string";
    case "reject":
      return REASONS.has(decision.reason) &&
        (decision.detail === undefined || typeof decision.detail === "string");
    default:
      return false;
  }
}

function isForward({ to, proxyProtocol, tlvs, tls, retryMs, keepOffAdmin }: Forward): boolean {
  return isTargets(to) && PROXY_MODES.has(proxyProtocol) && isTlvs(tlvs) &&
    (tls === undefined || isUpstreamTls(tls)) &&
    (retryMs === undefined || (Number.isFinite(retryMs) && retryMs >= 0)) &&
    (keepOffAdmin === undefined || typeof keepOffAdmin === "boolean");
}

/** An empty text is a mistake, and not what is meant by leaving it out. */
function isUpstreamTls(tls: UpstreamTls): boolean {
  return typeof tls === "object" && tls !== null &&
    [tls.serverName, tls.ca].every((text) => text === undefined || (typeof text === "string" && text !== ""));
}

function isTargets(to: unknown): boolean {
  return typeof to === "string" ||
    (Array.isArray(to) && to.length > 0 && to.every((one) => typeof one === "string"));
}

/** Type 0xE0 to 0xEF, and no more of them than one header holds. */
function isTlvs(tlvs: Forward["tlvs"]): boolean {
  if (tlvs === undefined) return true;
  if (!Array.isArray(tlvs)) return false;
  let bytes = 0;
  for (const tlv of tlvs) {
    if ((tlv?.type & ~0xf) !== 0xe0 || !Number.isInteger(tlv.type)) return false;
    if (!(tlv.value instanceof Uint8Array)) return false;
    bytes += TLV_HEADER_BYTES + tlv.value.length;
  }
  return bytes <= MAX_TLV_BYTES;
}

function isTerminate({ then, alpn, minVersion, clientCertificate }: Terminate): boolean {
  return (then === undefined || (typeof then === "object" && then !== null && isFinal(then))) &&
    (alpn === undefined || (Array.isArray(alpn) && alpn.every((one) => typeof one === "string"))) &&
    TLS_VERSIONS.has(minVersion) &&
    (clientCertificate === undefined || (clientCertificate !== null &&
      (clientCertificate.mode === "request" || clientCertificate.mode === "require") &&
      typeof clientCertificate.ca === "string" && clientCertificate.ca !== ""));
}
