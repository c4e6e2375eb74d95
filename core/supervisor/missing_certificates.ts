import type { Log } from "../log.ts";
import type { CertificateMaterial } from "../tls/certificates.ts";
import type { CheckedPlugin } from "./plugins.ts";

/** Says for which names plugins terminate TLS while there is no certificate: nobody would get in there. */
export function warnOfMissingCertificates(
  plugins: readonly Pick<CheckedPlugin, "name" | "traits">[],
  certificates: readonly Pick<CertificateMaterial, "names">[],
  log: Log,
): void {
  const names = new Set(certificates.flatMap((one) => one.names));
  for (const { name: plugin, traits } of plugins) {
    for (const name of traits.terminates ?? []) {
      if (names.has(name) || names.has(parentPattern(name))) continue;
      log.warn("certificate_missing", {
        plugin,
        name,
        reason: "Whoever asks for it is refused; add a certificate for it under tls.certificates",
      });
    }
  }
}

/** `*.example.com` for `app.example.com`. */
function parentPattern(name: string): string {
  return `*${name.slice(name.indexOf("."))}`;
}
