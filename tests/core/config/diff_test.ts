import assert from "node:assert/strict";
import type { GatewayConfig, PluginConfig } from "../../../core/config/config.ts";
import { type ConfigDiff, diffConfig } from "../../../core/config/diff.ts";

const plugin = (name: string, section: unknown, net: readonly string[] = []): PluginConfig => ({
  name,
  section,
  declaration: { module: `file:///${name}.ts`, isolation: "worker", permissions: { net } },
});

const BASE: GatewayConfig = {
  listeners: [{ address: "0.0.0.0:443", hostname: "0.0.0.0", port: 443, kind: "stream", proxyFrom: [] }],
  limits: {
    maxConnections: 1,
    maxConnectionsPerSource: 0,
    maxAcceptRatePerSource: 0,
    maxPrefaceBytes: 1024,
    prefaceTimeoutMs: 1,
    connectTimeoutMs: 1,
    idleTimeoutMs: 1,
    drainTimeoutMs: 1,
  },
  tls: { certificates: [] },
  admin: { address: "127.0.0.1:9090", hostname: "127.0.0.1", port: 9090, hosts: [], token: "a" },
  log: { level: "info", format: "json" },
  plugins: [plugin("static", { a: 1, b: 2 }), plugin("db", { host: "x" }, ["{host}:5432"])],
};
const [listener] = BASE.listeners;
const [statics, db] = BASE.plugins;
assert.ok(listener && statics && db);

const NOTHING: ConfigDiff = {
  listenersChanged: false,
  proxyTrustChanged: false,
  limitsChanged: false,
  certificatesChanged: false,
  acmeChanged: false,
  adminAddressChanged: false,
  adminTokenChanged: false,
  logChanged: false,
  pluginSetChanged: false,
  sectionsChanged: [],
  permissionsMayChange: [],
  needsRestart: [],
  live: [],
};

const { token: _, ...adminWithoutToken } = BASE.admin;
const cases: readonly (readonly [string, Partial<GatewayConfig>, Partial<ConfigDiff>])[] = [
  ["nothing", {}, {}],
  ["the order of keys in a section", { plugins: [plugin("static", { b: 2, a: 1 }), db] }, {}],
  [
    "a listener's address",
    { listeners: [{ ...listener, address: "0.0.0.0:444", port: 444 }] },
    { listenersChanged: true, needsRestart: ["listeners"] },
  ],
  ["a listener's kind", { listeners: [{ ...listener, kind: "http" }] }, {
    listenersChanged: true,
    needsRestart: ["listeners"],
  }],
  [
    "who is asked for certificates",
    { tls: { certificates: [], acme: { directory: "https://a.b/", cache: "c", challenges: ["http-01"] } } },
    { acmeChanged: true, live: ["tls.acme"] },
  ],
  ["one listener less", { listeners: [] }, { listenersChanged: true, needsRestart: ["listeners"] }],
  [
    "trusted proxies",
    { listeners: [{ ...listener, proxyFrom: ["10.0.0.0/8"] }] },
    { proxyTrustChanged: true, live: ["listeners[].proxyProtocol"] },
  ],
  ["limits", { limits: { ...BASE.limits, maxConnections: 2 } }, { limitsChanged: true, live: ["limits"] }],
  [
    "certificates",
    { tls: { certificates: [{ cert: "c", key: "k" }] } },
    { certificatesChanged: true, live: ["tls.certificates"] },
  ],
  [
    "the admin address",
    { admin: { ...BASE.admin, address: "127.0.0.1:1", port: 1 } },
    { adminAddressChanged: true, needsRestart: ["admin.address"] },
  ],
  ["the admin token", { admin: adminWithoutToken }, { adminTokenChanged: true, live: ["admin.token"] }],
  ["the log", { log: { level: "debug", format: "json" } }, { logChanged: true, needsRestart: ["log"] }],
  ["the order of plugins", { plugins: [db, statics] }, { pluginSetChanged: true, needsRestart: ["plugins"] }],
  [
    "one plugin more",
    { plugins: [statics, db, plugin("third", { a: 1 })] },
    { pluginSetChanged: true, needsRestart: ["plugins"] },
  ],
  ["one plugin less", { plugins: [statics] }, { pluginSetChanged: true, needsRestart: ["plugins"] }],
  [
    "declared permissions",
    { plugins: [statics, plugin("db", { host: "x" }, ["{host}:1"])] },
    { pluginSetChanged: true, needsRestart: ["plugins"] },
  ],
  [
    "a section that permissions don't depend on",
    { plugins: [plugin("static", { a: 2 }), db] },
    { sectionsChanged: ["static"], live: ["plugins.static"] },
  ],
  [
    "a section that permissions are filled in from",
    { plugins: [statics, plugin("db", { host: "y" }, ["{host}:5432"])] },
    { sectionsChanged: ["db"], permissionsMayChange: ["db"], live: ["plugins.db"] },
  ],
];
for (const [name, change, want] of cases) {
  Deno.test(`diffConfig() sees a change of ${name}`, () => {
    assert.deepEqual(diffConfig(BASE, { ...BASE, ...change }), { ...NOTHING, ...want });
  });
}
