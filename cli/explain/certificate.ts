import type { GatewayConfig } from "../../core/config/config.ts";
import { SILENT_LOG } from "../../core/log.ts";
import { chooseNames, isServedBy } from "../../core/acme/wanted.ts";
import { NameTable, parseNamePattern } from "../../core/names.ts";
import type { CheckedPlugin } from "../../core/supervisor/plugins.ts";
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

export interface CertificateContext {
  readonly config: GatewayConfig;
  readonly plugins: readonly Pick<CheckedPlugin, "traits">[];
  readonly file: string | undefined;
}

/** Looks for the certificate of a name as a data plane does: one for the very name, else one for its wildcard. */
export async function findCertificate(
  serverName: string | undefined,
  { config, plugins, file }: CertificateContext,
): Promise<ShownCertificate> {
  if (serverName === undefined) {
    return { steps: ["It is chosen by the server name, and the client asks for none"], found: false };
  }
  if (makesItsCertificates(config, file)) return ofDevelopment(serverName);
  const { certificates, faults } = await inspectCertificates(config.tls.certificates, SILENT_LOG);
  const table = tableOf(certificates.flatMap((one) => one.names.map((name) => [name, one] as const)));
  const one = table.lookup(serverName);
  const steps = faults.map(({ fault }) => `Not used: ${fault.message}`);
  if (one === undefined) {
    const asked = byAcme(serverName, config, plugins, certificates.flatMap(({ names }) => names));
    return { steps: [...steps, asked ?? `There is none for "${serverName}"`], found: asked !== undefined };
  }
  const expires = new Date(one.notAfter).toISOString();
  const state = one.notAfter <= Date.now() ? "EXPIRED" : "expires";
  return { steps: [...steps, `${one.source} (${one.names.join(", ")}), ${state} ${expires}`], found: true };
}

/** How it is asked for; `undefined`: it is not. */
function byAcme(
  serverName: string,
  { tls: { acme } }: GatewayConfig,
  plugins: CertificateContext["plugins"],
  files: readonly string[],
): string | undefined {
  if (acme === undefined) return undefined;
  const { challenges } = acme;
  const from = new URL(acme.directory).host;
  const routes = plugins.flatMap(({ traits }) => traits.terminates ?? []);
  const ofRoute = chooseNames({ routes, tunnels: [], files, challenges }).wanted
    .find(({ name }) => isServedBy(serverName, [name]));
  if (ofRoute !== undefined) return `By ACME from ${from}, for ${ofRoute.name} (${ofRoute.challenge})`;
  const [own] = chooseNames({ routes: [], tunnels: [serverName], files, challenges }).wanted;
  if (own === undefined) return undefined;
  return `By ACME from ${from} (${own.challenge}), while a tunnel has the name; else there is none`;
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
