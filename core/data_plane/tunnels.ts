import type { RunningPlugin } from "../plugin/running.ts";
import type { PlaneTunnels } from "./methods.ts";
import { tunnelFilter } from "./row_filter.ts";
import type { GatewayTunnel } from "./snapshot.ts";

/**
 * The tunnels of these plugins, oldest first.
 *
 * @param plugins By name.
 * @param limit Rows at most; `active` counts all.
 * @param filter What must stand in a row.
 */
export function tunnelsOf(
  plugins: ReadonlyMap<string, Pick<RunningPlugin, "tunnels">>,
  limit: number,
  filter?: string,
): PlaneTunnels {
  const rows = [...plugins].flatMap(([plugin, running]) =>
    running.tunnels().map((row) => ({ ...row, plugin }))
  );
  return { active: rows.length, rows: oldestTunnels(rows.filter(tunnelFilter(filter)), limit) };
}

/** The `limit` that are there longest. */
export function oldestTunnels(rows: readonly GatewayTunnel[], limit: number): readonly GatewayTunnel[] {
  return rows.toSorted((a, b) => a.since - b.since).slice(0, limit);
}
