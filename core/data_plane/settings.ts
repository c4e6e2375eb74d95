import type { LimitsConfig, ListenerConfig } from "../config/config.ts";
import type { LogLevel } from "../log.ts";
import type { NodeId } from "../registry/registry.ts";
import type { CertificateMaterial } from "../tls/certificates.ts";

/** What a data plane does for those who ask for certificates. Plain data. */
export interface PlaneAcme {
  /** Names and patterns for which a certificate is being asked for: who asks for one of them waits. */
  readonly awaited: readonly string[];
  /** Token → what is answered to it on listeners of `kind: http` (RFC 8555 §8.3). */
  readonly challenges: Readonly<Record<string, string>>;
}

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
  /** Data plane → where it takes what others hand over, a port on loopback. Absent where there is only one. */
  readonly nodes?: Readonly<Record<NodeId, number>>;
  /** Absent: no certificate is asked for. */
  readonly acme?: PlaneAcme;
}

/** What a data plane is born with. */
export interface PlaneIdentity {
  /** Counts from 0; every plane runs the same listeners. */
  readonly index: number;
  /** By which others know it. */
  readonly node: NodeId;
  /** How many there are. */
  readonly nodes: number;
  /** Known to the data planes of this run only; see `handover.ts`. Absent where there is only one. */
  readonly handoverSecret?: Uint8Array;
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
