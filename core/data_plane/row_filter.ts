import type { ConnectionRow, GatewayTunnel } from "./snapshot.ts";

/**
 * What somebody looks for among many rows: the text stands somewhere in a row, in any case.
 *
 * @param text Absent or empty: every row.
 */
export function connectionFilter(text: string | undefined): (row: ConnectionRow) => boolean {
  return containing(text, ({ id, source, protocol, sni, plugin, target, state }) => [
    id,
    source,
    protocol,
    sni,
    plugin,
    target,
    state,
  ]);
}

/** As {@link connectionFilter}, for tunnels and what they expose. */
export function tunnelFilter(text: string | undefined): (row: GatewayTunnel) => boolean {
  return containing(text, ({ id, agent, owner, source, plugin, services }) => [
    id,
    agent,
    owner,
    source.address,
    plugin,
    ...services.flatMap(({ name, protocol, url, target }) => [name, protocol, url, target]),
  ]);
}

function containing<Row>(
  text: string | undefined,
  shown: (row: Row) => readonly (string | undefined)[],
): (row: Row) => boolean {
  const wanted = text?.trim().toLowerCase() ?? "";
  if (wanted === "") return () => true;
  return (row) => shown(row).some((value) => value?.toLowerCase().includes(wanted));
}
