import type { Address } from "../support/processes.ts";

/** What a backend does with a connection, after the first read (the ClientHello). */
export type BackendMode = "echo" | "sink" | "source";

export const BACKEND_MODES: readonly BackendMode[] = ["echo", "sink", "source"];

/** The port of each mode, for one peer: each has ports of its own, so that no peer meets another's TIME_WAIT. */
export type BackendPorts = Readonly<Record<BackendMode, number>>;

/** What the load generator is asked for: one line of JSON, one line of JSON back. */
export type Job =
  /** Bytes from (`down`) or to (`up`) the backend, as fast as they go. */
  | {
    readonly kind: "up" | "down";
    readonly to: Target;
    readonly connections: number;
    readonly seconds: number;
  }
  /** Connections one after the other on each of `parallel` lanes: connect, hello, first answer, close. */
  | { readonly kind: "connect"; readonly to: Target; readonly parallel: number; readonly seconds: number }
  /** As `connect` on one lane, but in turn to each of these. */
  | { readonly kind: "alternate"; readonly to: readonly Target[]; readonly seconds: number }
  /** Ping-pong of 64 bytes on each of `connections`. */
  | { readonly kind: "rtt"; readonly to: Target; readonly connections: number; readonly seconds: number }
  /** Opens connections and leaves them alone: `relayed` behind a hello and its answer, or `silent` from the start. */
  | {
    readonly kind: "hold";
    readonly to: Target;
    readonly connections: number;
    readonly how: "relayed" | "silent";
  }
  /** Closes what `hold` opened. */
  | { readonly kind: "release" };

/** Where to connect to, and the name in the ClientHello. */
export interface Target {
  readonly address: Address;
  readonly serverName: string;
}

export interface Throughput {
  readonly bytesPerSecond: number;
}

/** How often something was done, and how long it took. */
export interface Rate {
  readonly perSecond: number;
  readonly p50Us: number;
  readonly p99Us: number;
}

export interface Released {
  /** How many were still open. */
  readonly alive: number;
  readonly closedByPeer: number;
}

/** What the load generator answers to each kind of job. */
export interface Results {
  readonly up: Throughput;
  readonly down: Throughput;
  readonly connect: Rate;
  readonly alternate: readonly Rate[];
  readonly rtt: Rate;
  readonly hold: Record<string, never>;
  readonly release: Released;
}

/** What the load generator for TLS can do, always with a client certificate. */
export type TlsJob =
  | Extract<Job, { kind: "up" | "down" | "connect" | "rtt" }>
  /** As `connect`, but so many begun each second, whether or not those before are done. */
  | { readonly kind: "paced"; readonly to: Target; readonly perSecond: number; readonly seconds: number };

export interface TlsResults extends Pick<Results, "up" | "down" | "connect" | "rtt"> {
  readonly paced: Rate;
}
