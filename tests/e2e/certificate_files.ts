import { createAuthority, type TestAuthority } from "../support/certificates.ts";
import { writePem } from "../support/openssl.ts";
import { temporaryFolder } from "../support/processes.ts";

/** A certificate of the gateway in files, as its config names them; `await using` removes them. */
export interface CertificateFiles extends AsyncDisposable {
  /** PEM of the CA that clients are to trust. */
  readonly ca: string;
  /** The config's `tls` section, with these files. */
  readonly yaml: string;
  /** Puts another certificate, for these names, in place of the one there is. */
  replace(...names: readonly string[]): Promise<void>;
  /** Puts nonsense in place of the certificate. */
  spoil(): Promise<void>;
}

/** Makes a certificate for `names`; what it is replaced by comes from the same CA. */
export async function certificateFiles(...names: readonly string[]): Promise<CertificateFiles> {
  const authority = await createAuthority();
  const folder = await temporaryFolder();
  await write(folder.path, authority, names);
  return {
    ca: authority.certificate,
    yaml: `tls: { certificates: [{ cert: "${folder.path}/cert.pem", key: "${folder.path}/key.pem" }] }`,
    replace: (...others) => write(folder.path, authority, others),
    async spoil() {
      await writePem(folder.path, "cert", "no certificate\n");
    },
    [Symbol.asyncDispose]: () => folder[Symbol.asyncDispose](),
  };
}

async function write(folder: string, authority: TestAuthority, names: readonly string[]): Promise<void> {
  const { certificate, key } = await authority.issue({ names });
  await writePem(folder, "key", key);
  await writePem(folder, "cert", certificate);
}
