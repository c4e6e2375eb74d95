import { isDeepStrictEqual } from "node:util";
import type { GatewayConfig, ListenerConfig, PluginConfig } from "./config.ts";

/** What a reload would change, and which of it can't be done while the gateway runs. */
export interface ConfigDiff {
  /** Another set of addresses, or another kind at one of them. */
  readonly listenersChanged: boolean;
  /** Whose PROXY headers are believed, at an address that stays. */
  readonly proxyTrustChanged: boolean;
  readonly limitsChanged: boolean;
  readonly certificatesChanged: boolean;
  /** Whether that needs a restart is told by its permissions: resolve and compare them. */
  readonly acmeChanged: boolean;
  /** Its address, or the names under which it is asked. */
  readonly adminAddressChanged: boolean;
  readonly adminTokenChanged: boolean;
  readonly logChanged: boolean;
  /** Other plugins, another order, or another declaration of one. */
  readonly pluginSetChanged: boolean;
  /** Plugins that stay, with another section. */
  readonly sectionsChanged: readonly string[];
  /** Those of `sectionsChanged` whose permissions are filled in from the section: resolve and compare them. */
  readonly permissionsMayChange: readonly string[];
  /** What needs a restart, in words of the config: `listeners`, `admin.address`, … */
  readonly needsRestart: readonly string[];
  /** What can change while connections go on: `limits`, `plugins.static`, … */
  readonly live: readonly string[];
}

/** Compares two checked configs. Pure. */
export function diffConfig(old: GatewayConfig, next: GatewayConfig): ConfigDiff {
  const listenersChanged = differ(old.listeners.map(socketOf), next.listeners.map(socketOf));
  const proxyTrustChanged = !listenersChanged && differ(old.listeners, next.listeners);
  const adminAddressChanged = old.admin.address !== next.admin.address ||
    differ(old.admin.hosts, next.admin.hosts);
  const adminTokenChanged = old.admin.token !== next.admin.token;
  const limitsChanged = differ(old.limits, next.limits);
  const certificatesChanged = differ(old.tls.certificates, next.tls.certificates);
  const acmeChanged = differ(old.tls.acme, next.tls.acme);
  const logChanged = differ(old.log, next.log);
  const pluginSetChanged = differ(old.plugins.map(declarationOf), next.plugins.map(declarationOf));
  const changed = next.plugins.filter((plugin) => hasOtherSection(plugin, old.plugins));
  const sectionsChanged = changed.map(({ name }) => name);
  return {
    listenersChanged,
    proxyTrustChanged,
    limitsChanged,
    certificatesChanged,
    acmeChanged,
    adminAddressChanged,
    adminTokenChanged,
    logChanged,
    pluginSetChanged,
    sectionsChanged,
    permissionsMayChange: changed.filter(hasTemplates).map(({ name }) => name),
    needsRestart: chosen({
      listeners: listenersChanged,
      "admin.address": adminAddressChanged,
      log: logChanged,
      plugins: pluginSetChanged,
    }),
    live: [
      ...chosen({
        "listeners[].proxyProtocol": proxyTrustChanged,
        limits: limitsChanged,
        "tls.certificates": certificatesChanged,
        "tls.acme": acmeChanged,
        "admin.token": adminTokenChanged,
      }),
      ...sectionsChanged.map((name) => `plugins.${name}`),
    ],
  };
}

function differ(a: unknown, b: unknown): boolean {
  return !isDeepStrictEqual(a, b);
}

function socketOf({ address, kind }: ListenerConfig): unknown {
  return { address, kind };
}

function declarationOf({ name, declaration }: PluginConfig): unknown {
  return { name, declaration };
}

function hasOtherSection({ name, section }: PluginConfig, old: readonly PluginConfig[]): boolean {
  const before = old.find((plugin) => plugin.name === name);
  return before !== undefined && differ(before.section, section);
}

function hasTemplates({ declaration }: PluginConfig): boolean {
  return Object.values(declaration.permissions)
    .some((entries) => Array.isArray(entries) && entries.some((entry) => String(entry).includes("{")));
}

function chosen(flags: Readonly<Record<string, boolean>>): string[] {
  return Object.entries(flags).filter(([, isSet]) => isSet).map(([word]) => word);
}
