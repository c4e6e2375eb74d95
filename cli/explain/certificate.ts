import type { GatewayConfig } from "../../core/config/config.ts";
import { SILENT_LOG } from "../../core/log.ts";
import { NameTable, parseNamePattern } from "../../core/names.ts";
import { inspectCertificates } from "../../core/tls/certificates.ts";
import {
  DEVELOPMENT_NAMES,
  DEVELOPMENT_WILDCARD,
  makesItsCertificates,
} from "../development_certificates.ts";

/** Which certificate a client would be shown. */
export interface ShownCertificate {
  readonly steps: readonly string[];
  /** Whether the handshake can go on. */
  readonly found: boolean;
}

/** Looks for the certificate of a name as a data plane does: one for the very name, else one for its wildcard. */
export async function findCertificate(
  serverName: string | undefined,
  config: GatewayConfig,
  file: string | undefined,
): Promise<ShownCertificate> {
  if (serverName === undefined) {
    return { steps: ["It is chosen by the server name, and the client asks for none"], found: false };
  }
  if (makesItsCertificates(config, file)) return ofDevelopment(serverName);
  const { certificates, faults } = await inspectCertificates(config.tls.certificates, SILENT_LOG);
  const table = tableOf(certificates.flatMap((one) => one.names.map((name) => [name, one] as const)));
  const one = table.lookup(serverName);
  const steps = faults.map(({ fault }) => `Not used: ${fault.message}`);
  if (one === undefined) return { steps: [...steps, `There is none for "${serverName}"`], found: false };
  const expires = new Date(one.notAfter).toISOString();
  const state = one.notAfter <= Date.now() ? "EXPIRED" : "expires";
  return { steps: [...steps, `${one.source} (${one.names.join(", ")}), ${state} ${expires}`], found: true };
}

function ofDevelopment(serverName: string): ShownCertificate {
  const names = [...DEVELOPMENT_NAMES, DEVELOPMENT_WILDCARD];
  const found = tableOf(names.map((name) => [name, true] as const)).lookup(serverName) === true;
  const made = `Made by the development CA for ${names.join(", ")}, and for names that tunnels hold`;
  return { steps: [found ? made : `There is none for "${serverName}"`], found };
}

/** Of two for the same name the first is the one that is used. */
function tableOf<T>(entries: readonly (readonly [name: string, value: T])[]): NameTable<T> {
  const table = new NameTable<T>();
  for (const [name, value] of entries) {
    const pattern = parseNamePattern(name);
    if (table.get(pattern) === undefined) table.add(pattern, value);
  }
  return table;
}
