import type { GatewayConfig } from "../config/config.ts";
import type { Log } from "../log.ts";
import { type NamePattern, parseNamePattern } from "../names.ts";
import type { CheckedPlugin } from "./plugins.ts";

type Traits = Pick<CheckedPlugin, "name" | "traits">;

/** Says what in a config is sound by itself and hardly meant, because something else in it is in the way. */
export function warnOfContradictions(
  plugins: readonly Traits[],
  config: Pick<GatewayConfig, "listeners" | "admin">,
  log: Log,
): void {
  for (const [i, plugin] of plugins.entries()) warnOfNamesBefore(plugin, plugins.slice(0, i), log);
  for (const { name: plugin, traits: { ports } } of plugins) {
    if (ports === undefined) continue;
    const range = `${ports.first}-${ports.last}`;
    for (const { address, port } of [...config.listeners, config.admin]) {
      if (port < ports.first || port > ports.last) continue;
      log.warn("port_shared", {
        plugin,
        ports: range,
        address,
        reason: "The plugin cannot give out this port",
      });
    }
  }
}

/** Of two plugins that both name what they take, the first is asked alone. */
function warnOfNamesBefore({ name: plugin, traits }: Traits, before: readonly Traits[], log: Log): void {
  for (const pattern of (traits.names ?? []).map(parseNamePattern)) {
    const first = before.find(({ traits: { names = [] } }) =>
      names.some((one) => covers(parseNamePattern(one), pattern))
    );
    if (first === undefined) continue;
    log.warn("plugin_name_shared", {
      plugin,
      name: pattern.text,
      asked_first: first.name,
      reason: "Whoever is asked first takes it; the order is that of the config",
    });
  }
}

/** Whether `outer` has every name that `inner` has. */
function covers(outer: NamePattern, inner: NamePattern): boolean {
  if (outer.text === "*" || outer.text === inner.text) return true;
  return !inner.text.startsWith("*") && outer.matches(inner.text);
}
