import type { Failure } from "./failure.ts";

/** Where a connection goes, or why nowhere. */
export type Answer =
  | { readonly kind: "port"; readonly port: number }
  | { readonly kind: "refused"; readonly failure: Failure; readonly retryInMs?: number }
  /** The tunnel is being given up for another with a new config: ask that one. */
  | { readonly kind: "moved" };
