import type { CertificateRow } from "../data_plane/snapshot.ts";
import type { CertificateMaterial } from "../tls/certificates.ts";

/** As many as `status` tells of. */
const MAX_ROWS = 1000;

/** Certificates as `status` shows them. */
export function certificateRows(
  source: CertificateRow["source"],
  certificates: readonly Pick<CertificateMaterial, "names" | "notAfter">[],
  now: number = Date.now(),
): CertificateRow[] {
  return certificates.slice(0, MAX_ROWS).map(({ names, notAfter }) => ({
    names,
    source,
    notAfter: new Date(notAfter).toISOString(),
    state: notAfter <= now ? "failed" : "valid",
  }));
}
