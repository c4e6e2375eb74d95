import type { GatewayConfig } from "../core/config/config.ts";
import { DEVELOPMENT_FOLDER } from "./development_token.ts";

/** What the development gateway's certificate is for from the start. */
export const DEVELOPMENT_NAMES: readonly string[] = ["localhost", "tunnel.localhost"];
/** So that a name which nobody holds has an answer, too: few clients take it, and those that do not are told in TLS. */
export const DEVELOPMENT_WILDCARD = "*.localhost";

/**
 * Whether the gateway makes its certificates itself; with other ones configured there is nothing to make.
 *
 * @param file Where the config comes from; absent: it is the development config.
 */
export function makesItsCertificates(
  { tls }: Pick<GatewayConfig, "tls">,
  file: string | undefined,
): boolean {
  return file === undefined && tls.certificates.some(({ cert }) => cert.startsWith(DEVELOPMENT_FOLDER));
}
