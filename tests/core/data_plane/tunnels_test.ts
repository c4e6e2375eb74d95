import assert from "node:assert/strict";
import { tunnelsOf } from "../../../core/data_plane/tunnels.ts";
import type { TunnelRow } from "../../../core/plugin/reports.ts";

function row(id: string, since: number): TunnelRow {
  const source = { address: "192.0.2.1", port: 1 };
  return { id, owner: "o", source, since, streams: 0, bytesIn: 0, bytesOut: 0, services: [] };
}

Deno.test("tunnelsOf() counts the tunnels of all plugins, and shows the oldest with the plugin's name", () => {
  const plugins = new Map([
    ["a", { tunnels: () => [row("a1", 3), row("a2", 1)] }],
    ["b", { tunnels: () => [row("b1", 2)] }],
    ["c", { tunnels: () => [] }],
  ]);
  const { active, rows } = tunnelsOf(plugins, 2);
  assert.equal(active, 3);
  assert.deepEqual(rows.map(({ id, plugin }) => [id, plugin]), [["a2", "a"], ["b1", "b"]]);
});
