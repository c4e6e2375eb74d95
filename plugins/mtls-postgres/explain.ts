import type { ConnectionInfo, Explanation } from "../../core/plugin/mod.ts";
import type { DatabaseConfig, MtlsConfig } from "./config.ts";
import { connectIdOf, patternOf } from "./names.ts";
import { alpnFor } from "./terminate.ts";

/** Says what would be asked of a client. Who gets in is in the database, which is not asked here. */
export function explain(config: MtlsConfig, connection: ConnectionInfo): Explanation {
  const { domain, issuer, caCertificates, crls } = config;
  const connectId = connectIdOf(connection, domain);
  if (connectId === undefined) {
    return { steps: [`The client does not ask for ${patternOf(domain)}: the next plugin is asked`] };
  }
  const files = caCertificates.join(", ");
  const alpn = alpnFor(connection);
  return {
    steps: [
      `The connectID is "${connectId}"`,
      `The gateway ends TLS, and wants a client certificate that leads to a CA of ${files}`,
      `The certificate must name spiffe://${issuer}/orgs/<org>/users/<user>` +
      (crls.length === 0 ? "" : `, and not be revoked by ${crls.join(", ")}`),
      `${
        describeDatabase(config.database)
      } must have "${connectId}" in backend_hosts, of the same organization, ` +
      "with the user or a team of the user",
      describeTarget(config),
    ],
    decision: {
      kind: "terminate",
      clientCertificate: { mode: "require", ca: files }, // what stands in them is not known here
      ...(alpn && { alpn }),
    },
  };
}

function describeDatabase(database: DatabaseConfig): string {
  return database.kind === "embedded" ? "The embedded database" : `The database at ${database.addresses[0]}`;
}

function describeTarget({ defaultPort, proxyProtocol, targetTls }: MtlsConfig): string {
  const header = proxyProtocol === "off" ? "" : ` with a PROXY ${proxyProtocol} header`;
  const tls = targetTls ? " over TLS" : "";
  return `Then it goes to that row's internal_ip_addr${tls}${header}, port ${defaultPort} unless it names one`;
}
