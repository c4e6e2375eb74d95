import type { AcmeName, AcmeState } from "../acme/contract.ts";
import type { CertificateRow } from "../data_plane/snapshot.ts";
import type { NumberSample } from "../plugin/reports.ts";
import type { CertificateMaterial } from "../tls/certificates.ts";

/** As many as `status` tells of. */
const MAX_ROWS = 1000;

/** Everything that there is to tell of certificates. */
export interface CertificateSources {
  /** Of the config. */
  readonly files: readonly CertificateMaterial[];
  /** Made by the development CA. */
  readonly issued: readonly CertificateMaterial[];
  /** Whether those of `files` were made by it too. */
  readonly isDevelopment: boolean;
  readonly acme: AcmeState | undefined;
}

/** What `status` tells of certificates. @param now Milliseconds since 1970. */
export function certificateRows(
  { files, issued, isDevelopment, acme }: CertificateSources,
  now: number,
): CertificateRow[] {
  const source = isDevelopment ? "development" : "files";
  return [
    ...files.map((one) => rowOf(one, source, now)),
    ...(acme?.names ?? []).map((name) => acmeRow(name)),
    ...issued.map((one) => rowOf(one, "development", now)),
  ].slice(0, MAX_ROWS);
}

function rowOf(
  { names, notAfter }: CertificateMaterial,
  source: CertificateRow["source"],
  now: number,
): CertificateRow {
  const isOver = notAfter <= now;
  return {
    names,
    source,
    notAfter: new Date(notAfter).toISOString(),
    state: isOver ? "failed" : "valid",
    ...(isOver && { error: "It has expired" }),
  };
}

function acmeRow({ name, state, notAfter, error, nextAttempt }: AcmeName): CertificateRow {
  return {
    names: [name],
    source: "acme",
    notAfter: notAfter === undefined ? "" : new Date(notAfter).toISOString(),
    state,
    ...(error !== undefined && { error }),
    ...(nextAttempt !== undefined && { nextAttempt: new Date(nextAttempt).toISOString() }),
  };
}

/** How many orders have ended, as numbers; none where nothing is asked for. */
export function orderSamples(orders: AcmeState["orders"] | undefined): NumberSample[] {
  return Object.entries(orders ?? {}).map(([result, value]): NumberSample => ({
    name: "acme_orders_total",
    help: "Orders for certificates that have ended, by how they did.",
    type: "counter",
    labels: { result },
    value,
  }));
}
