import type { AcmeChallenge } from "../config/config.ts";
import type { LogLevel } from "../log.ts";
import type { Methods } from "../rpc.ts";
import type { CertificateMaterial } from "../tls/certificates.ts";

/** What the worker that asks for certificates is told. Plain data. */
export interface AcmeSettings {
  readonly email?: string;
  readonly directory: string;
  /** PEM. */
  readonly ca?: string;
  /** An absolute path. */
  readonly cache: string;
  readonly dns01?: { readonly webhook: string; readonly propagationMs: number };
}

/** A name that a certificate is to be had for. */
export interface WantedName {
  /** Canonical: `app.example.com`, or `*.example.com`. */
  readonly name: string;
  readonly challenge: AcmeChallenge;
}

/** How it stands with a name. */
export interface AcmeName {
  readonly name: string;
  /**
   * `pending`: there is no certificate, and it is being asked for, or soon will be. `failed`: there is none, and the last
   * attempt failed, or none can be made soon.
   */
  readonly state: "valid" | "pending" | "failed";
  /** Of the certificate in service; milliseconds since 1970. */
  readonly notAfter?: number;
  /** Of the last attempt, or why there can be none soon, on one line. */
  readonly error?: string;
  /** Milliseconds since 1970; absent while it is being asked for, and when nobody holds the name any more. */
  readonly nextAttempt?: number;
}

/** What the worker has. */
export interface AcmeState {
  /** Those in service. One that could not be renewed in time stays, as it does in files. */
  readonly certificates: readonly CertificateMaterial[];
  readonly names: readonly AcmeName[];
  /** How many orders have ended since the worker was started, by how they did. */
  readonly orders: Readonly<Record<OrderResult, number>>;
}

/** What has changed; without `certificates`, they are those that were told last. They are large, and have keys. */
export type AcmeChange = Omit<AcmeState, "certificates"> & Partial<Pick<AcmeState, "certificates">>;

export type OrderResult = "issued" | "renewed" | "failed" | "rate_limited" | "unreachable";

/** What the supervisor may ask of the worker. */
export interface AcmeWorkerMethods extends Methods {
  /** Reads the cache. Nothing is asked for until {@link AcmeWorkerMethods.want}. */
  start(settings: AcmeSettings, logLevel: LogLevel): Promise<AcmeState>;
  /** Takes other settings, within the permissions that it has. */
  reload(settings: AcmeSettings): Promise<void>;
  /** All names that are held now. Certificates of others are kept until they expire, and not renewed. */
  want(names: readonly WantedName[]): void;
  stop(): void;
  ping(): void;
}

/** What the worker may ask of the supervisor, beside what all workers do. */
export interface AcmeQuestions extends Methods {
  /** Resolves when every data plane answers the challenge (RFC 8555 §8.3). */
  acmePresent(token: string, keyAuthorization: string): Promise<void>;
  acmeWithdraw(token: string): void;
  acmeChanged(change: AcmeChange): void;
}
