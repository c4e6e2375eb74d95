import { isDeepStrictEqual } from "node:util";
import type { AdminConfig, ListenerConfig, TlsConfig } from "../config/config.ts";
import { diffConfig } from "../config/diff.ts";
import type { CheckedPlugin } from "./plugins.ts";
import type { Prepared } from "./state.ts";

/** What a reload puts in place, and what it must leave. */
export interface ReloadPlan {
  readonly prepared: Prepared;
  /** What needs a restart, in words of the config. */
  readonly needRestart: readonly string[];
}

/** The old sockets, with whose PROXY headers the new config believes there. */
function withTrustOf(next: readonly ListenerConfig[], old: readonly ListenerConfig[]): ListenerConfig[] {
  return old.map((listener) => {
    const same = next.find(({ address }) => address === listener.address);
    return same ? { ...listener, proxyFrom: same.proxyFrom } : listener;
  });
}

/** The old address with the new token; without one it stays as it was, because others may reach that address. */
function withTokenOf(next: AdminConfig, old: AdminConfig): AdminConfig {
  return next.token === undefined ? old : { ...old, token: next.token };
}

/**
 * The old plugin with what now stands in its files: a revocation list must not wait for the restart that the config
 * needs.
 */
function withFilesOf(fresh: CheckedPlugin | undefined, old: CheckedPlugin): CheckedPlugin {
  const now = fresh?.files ?? {};
  const files = Object.entries(old.files).map(([path, text]) => [path, now[path] ?? text]);
  return { ...old, files: Object.fromEntries(files) };
}

/** Which certificates are asked for, and how, as in `source`; all else as in `tls`. */
function withAcmeOf({ acme }: TlsConfig, { certificates }: TlsConfig): TlsConfig {
  return { certificates, ...(acme && { acme }) };
}

/**
 * Takes from a new config what can change while the gateway runs. Sockets, the set of plugins and what a plugin was
 * granted stay as they were: a running worker gets no wider permissions. Pure.
 */
export function planReload(old: Prepared, next: Prepared): ReloadPlan {
  const diff = diffConfig(old.config, next.config);
  const kept: string[] = [];
  const plugins = old.plugins.map((plugin): CheckedPlugin => {
    const fresh = next.plugins.find(({ name }) => name === plugin.name);
    if (!fresh || diff.pluginSetChanged) return withFilesOf(fresh, plugin);
    if (isDeepStrictEqual(plugin.permissions, fresh.permissions)) return fresh;
    kept.push(`plugins.${plugin.name} (other permissions)`);
    return withFilesOf(fresh, plugin);
  });
  const { listeners, log, admin } = old.config;
  const isSameAcme = isDeepStrictEqual(old.acme?.permissions, next.acme?.permissions);
  if (!isSameAcme) kept.push("tls.acme (other permissions)");
  const acme = isSameAcme ? next : old;
  return {
    prepared: {
      plugins,
      ...(acme.acme && { acme: acme.acme }),
      config: {
        ...next.config,
        tls: withAcmeOf(acme.config.tls, next.config.tls),
        listeners: diff.listenersChanged
          ? withTrustOf(next.config.listeners, listeners)
          : next.config.listeners,
        admin: diff.adminAddressChanged ? withTokenOf(next.config.admin, admin) : next.config.admin,
        log,
        plugins: diff.pluginSetChanged ? old.config.plugins : next.config.plugins,
      },
    },
    needRestart: [...diff.needsRestart, ...kept],
  };
}
