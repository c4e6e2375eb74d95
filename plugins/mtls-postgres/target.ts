import { formatHostPort, type Forward, parseHostPort } from "../../core/plugin/mod.ts";
import { parseAddress } from "../../core/net/address.ts";
import type { MtlsConfig } from "./config.ts";
import type { Identity } from "./identity.ts";

/**
 * The type of the TLV in a PROXY v2 header that holds the client's SPIFFE ID, as it stands in the certificate: the
 * first of the range for custom use in HAProxy's proxy-protocol.txt, §2.2.
 */
export const SPIFFE_ID_TLV = 0xe0;

/**
 * Reads `internal_ip_addr` as it stands in the database: `10.0.0.5`, `10.0.0.5:5432`, `::1`, `[::1]`, `[::1]:5432`,
 * `db.internal` or `db.internal:5432`.
 *
 * @returns `host:port` in canonical form, for `Forward.to`; `undefined` for what is no such address.
 */
export function parseTarget(text: string, defaultPort: number): string | undefined {
  if (text.includes("%")) return undefined; // a zone says which of our own networks is meant, and is none of theirs
  try {
    const bare = text.includes(":") ? parseAddress(text) : undefined;
    if (bare !== undefined) return formatHostPort({ host: bare, port: defaultPort });
    return formatHostPort(parseHostPort(text, { defaultPort, minPort: 1 }));
  } catch {
    return undefined;
  }
}

/**
 * Makes the decisions that let somebody in.
 *
 * @param ca The CAs of the targets, PEM; only with `targetTls`.
 */
export function forwarder(
  { proxyProtocol, targetTls }: Pick<MtlsConfig, "proxyProtocol" | "targetTls">,
  ca?: string,
): (to: string, identity: Identity) => Forward {
  const tls = targetTls && {
    ...(targetTls.serverName !== undefined && { serverName: targetTls.serverName }),
    ...(ca !== undefined && { ca }),
  };
  const always = { kind: "forward", proxyProtocol, keepOffAdmin: true, ...(tls && { tls }) } as const;
  if (proxyProtocol !== "v2") return (to) => ({ ...always, to });
  const encoder = new TextEncoder();
  return (to, { spiffeId }) => ({
    ...always,
    to,
    tlvs: [{ type: SPIFFE_ID_TLV, value: encoder.encode(spiffeId) }],
  });
}
