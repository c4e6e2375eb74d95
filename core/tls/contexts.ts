import { NameTable, parseNamePattern } from "../names.ts";
import type { CertificateMaterial } from "./certificates.ts";

/** A certificate with its key, as the gateway shows it to clients. One object as long as neither changes. */
export type ServerCertificate = Pick<CertificateMaterial, "certPem" | "keyPem" | "fingerprint" | "names">;

/**
 * Which certificate is for which name. Replaced whole: a lookup sees the old ones or the new ones, never some of
 * each. A connection keeps what it has agreed on, whatever is replaced behind it.
 */
export class CertificateStore {
  #table = new NameTable<ServerCertificate>();
  #certificates: readonly CertificateMaterial[] = [];

  /** @param material In the order of the config: where two have the same name, the first one serves it. */
  replace(material: readonly CertificateMaterial[]): void {
    const known = Map.groupBy(this.#certificates, ({ fingerprint }) => fingerprint);
    const certificates = material.map((one) => sameOf(one, known.get(one.fingerprint)) ?? one);
    const table = new NameTable<ServerCertificate>();
    for (const certificate of certificates) {
      for (const name of certificate.names) {
        const pattern = parseNamePattern(name);
        if (table.get(pattern) === undefined) table.add(pattern, certificate);
      }
    }
    this.#certificates = certificates;
    this.#table = table;
  }

  /**
   * The certificate for exactly this name, else the one for `*.parent`. There is no default certificate.
   *
   * @param serverName A canonical name.
   */
  lookup(serverName: string): ServerCertificate | undefined {
    return this.#table.lookup(serverName);
  }
}

/** The same object again for the same certificate, so that what was built for it stays of use. */
function sameOf(
  { certPem, keyPem }: CertificateMaterial,
  known: readonly CertificateMaterial[] = [],
): CertificateMaterial | undefined {
  return known.find((one) => one.certPem === certPem && one.keyPem === keyPem);
}
