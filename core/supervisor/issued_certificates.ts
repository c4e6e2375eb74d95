import { Lru } from "../tls/lru.ts";
import type { CertificateMaterial } from "../tls/certificates.ts";

/** Makes a certificate for a canonical name; `undefined`: none is to be had for it. */
export type IssueCertificate = (name: string) => Promise<CertificateMaterial | undefined>;

/** Names of clients that come and go: the oldest make room. */
const MAX_ISSUED = 1000;

/** Certificates that were made while the gateway runs, beside those of the config. */
export class IssuedCertificates {
  readonly #issue: IssueCertificate | undefined;
  readonly #byName = new Lru<CertificateMaterial>(MAX_ISSUED);
  readonly #pending = new Map<string, Promise<boolean>>();

  constructor(issue: IssueCertificate | undefined) {
    this.#issue = issue;
  }

  all(): CertificateMaterial[] {
    return this.#byName.values();
  }

  /**
   * Makes one for `name` unless `configured` has one for this very name.
   *
   * @returns Whether there is one that was not there before.
   */
  async ensure(name: string, configured: readonly CertificateMaterial[]): Promise<boolean> {
    const issue = this.#issue;
    if (issue === undefined || this.#byName.get(name) !== undefined) return false;
    if (configured.some(({ names }) => names.includes(name))) return false;
    const pending = this.#pending.get(name);
    if (pending !== undefined) return await pending;
    const making = issue(name).then((made) => {
      if (made !== undefined) this.#byName.set(name, made);
      return made !== undefined;
    }).finally(() => this.#pending.delete(name));
    this.#pending.set(name, making);
    return await making;
  }
}
