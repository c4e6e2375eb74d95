import { chooseNames, isServedBy } from "../acme/wanted.ts";
import type { AcmeChallenge } from "../config/config.ts";
import type { Log } from "../log.ts";
import type { CertificateMaterial } from "../tls/certificates.ts";
import type { CheckedPlugin } from "./plugins.ts";

/**
 * Says for which names plugins terminate TLS while there is no certificate: nobody would get in there.
 *
 * @param challenges By which certificates are asked for. @default none are
 */
export function warnOfMissingCertificates(
  plugins: readonly Pick<CheckedPlugin, "name" | "traits">[],
  certificates: readonly Pick<CertificateMaterial, "names">[],
  log: Log,
  challenges: readonly AcmeChallenge[] = [],
): void {
  const files = certificates.flatMap((one) => one.names);
  const routes = plugins.flatMap(({ traits }) => traits.terminates ?? []);
  const { wanted, left } = chooseNames({ routes, tunnels: [], files, challenges });
  const served = challenges.length === 0 ? files : [...files, ...wanted.map(({ name }) => name)];
  for (const { name: plugin, traits } of plugins) {
    for (const name of traits.terminates ?? []) {
      if (isServedBy(name, served)) continue;
      const reason = challenges.length > 0 && left.find((one) => one.name === name)?.reason;
      log.warn("certificate_missing", {
        plugin,
        name,
        reason: `Whoever asks for it is refused; ${
          reason || "add a certificate for it under tls.certificates"
        }`,
      });
    }
  }
}
