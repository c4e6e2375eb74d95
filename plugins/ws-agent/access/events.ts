import type { HostPort } from "../../../core/plugin/mod.ts";

/** How an access is: `reconnecting` while its connection to the gateway is lost, or the gateway has not granted it again. */
export type AccessState = "connected" | "reconnecting" | "ended";

/**
 * Why an access ended. `expired`: its time is over. `stopped`: by whoever started it. `lost`: the gateway has ended it, or lets it in
 * no more.
 */
export interface AccessEnd {
  readonly kind: "expired" | "stopped" | "lost";
  /** The gateway's word for it, where it gave one. */
  readonly word?: string;
  /** For people, as it came. */
  readonly reason: string;
}

/** An access as it is now. Plain data. */
export interface AccessSessionInfo {
  /** What `stopSession` takes. */
  readonly id: string;
  /** `OWNER/NAME`, as the gateway says it. */
  readonly service: string;
  readonly protocol: "http" | "tcp" | "tls";
  /** Where it listens: on loopback, always. */
  readonly local: HostPort;
  readonly state: AccessState;
  /** Present when it has ended. */
  readonly end?: AccessEnd;
  /** Milliseconds since 1970, by this machine's clock. */
  readonly since: number;
  readonly until: number;
  readonly remainingMs: number;
  /** Local connections since the start, and those that are open. */
  readonly connections: number;
  readonly open: number;
  /** To the service, and from it. */
  readonly bytesOut: number;
  readonly bytesIn: number;
}

/** Something that has happened to an access. Texts are as they came. */
export type AccessEvent =
  | { readonly kind: "connected"; readonly id: string }
  | { readonly kind: "disconnected"; readonly id: string; readonly reason: string }
  | { readonly kind: "ended"; readonly id: string; readonly end: AccessEnd };
