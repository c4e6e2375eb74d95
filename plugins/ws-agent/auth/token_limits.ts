import { size, z } from "../../../core/plugin/mod.ts";

/** What all tunnels of one party may use together, within what the gateway's own limits leave. Absent: no bound of its own. */
export interface TokenLimits {
  /** Bytes a second, in each direction by itself. */
  readonly bandwidth?: number | undefined;
  /** Streams at once. */
  readonly streams?: number | undefined;
  /** Connections of its agents, over all data planes. */
  readonly tunnels?: number | undefined;
  /** Names and ports, over all data planes; those that are kept for an agent that was lost are among them. */
  readonly services?: number | undefined;
}

/** Less, and a page takes minutes: more likely a unit was forgotten. */
const MIN_BANDWIDTH = 1024;
/** More than any machine moves. */
const MAX_BANDWIDTH = 2 ** 40;
const MAX_COUNT = 1_000_000;

const count = z.int().min(1).max(MAX_COUNT);

/** {@link TokenLimits} as they are written: in a token file, in the claims of a JWT, in a controller's answer. */
export const TOKEN_LIMITS = z.strictObject({
  bandwidth: size({ min: MIN_BANDWIDTH, max: MAX_BANDWIDTH }).exactOptional(),
  streams: count.exactOptional(),
  tunnels: count.exactOptional(),
  services: count.exactOptional(),
});
