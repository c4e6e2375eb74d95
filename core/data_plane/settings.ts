import type { LimitsConfig, ListenerConfig } from "../config/config.ts";
import type { LogLevel } from "../log.ts";
import type { CertificateMaterial } from "../tls/certificates.ts";

/** What a data plane works by; replaced whole at a reload. Plain data: the supervisor sends it. */
export interface PlaneSettings {
  readonly limits: LimitsConfig;
  readonly certificates: readonly CertificateMaterial[];
  /** Where an `http` listener sends its clients: the public port of https, 443 when there is no such listener. */
  readonly httpsPort: number;
  /** Where the admin side listens, as bound; absent when it does not. */
  readonly adminAddress?: string;
  /** Listener's address in the config → CIDR ranges whose PROXY header is believed there. */
  readonly proxyFrom: Readonly<Record<string, readonly string[]>>;
}

/** What a data plane is born with. */
export interface PlaneIdentity {
  /** Counts from 0; every plane runs the same listeners. */
  readonly index: number;
  /** Begins the id of every connection; no other plane, and no earlier run, has the same. */
  readonly idPrefix: string;
  readonly logLevel: LogLevel;
  /** See `SharedLimits`. */
  readonly sharedLimits: SharedArrayBuffer;
  /** See `openLedger`. */
  readonly ledger: SharedArrayBuffer;
}

/** A listener, and whether others share its port. */
export type PlaneListener = ListenerConfig & { readonly reusePort: boolean };
