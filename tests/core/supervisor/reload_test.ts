import assert from "node:assert/strict";
import { acmePermissions } from "../../../core/acme/permissions.ts";
import type { AcmeConfig, GatewayConfig, PluginDeclaration } from "../../../core/config/config.ts";
import { NO_PERMISSIONS, type WorkerPermissions } from "../../../core/config/permissions.ts";
import type { PluginFiles } from "../../../core/plugin/contract.ts";
import type { CheckedPlugin } from "../../../core/supervisor/plugins.ts";
import { planReload } from "../../../core/supervisor/reload.ts";
import type { Prepared } from "../../../core/supervisor/supervisor.ts";
import { TEST_LIMITS } from "../../support/plane.ts";

const listener = {
  address: "127.0.0.1:443",
  hostname: "127.0.0.1",
  port: 443,
  kind: "stream",
  proxyFrom: [],
} as const;
const admin = { address: "127.0.0.1:9090", hostname: "127.0.0.1", port: 9090, token: "old", hosts: [] };
const declaration: PluginDeclaration = { module: "file:///p.ts", isolation: "worker", permissions: {} };

interface Changes {
  readonly config?: Partial<GatewayConfig>;
  readonly sections?: Readonly<Record<string, unknown>>;
  readonly permissions?: Partial<WorkerPermissions>;
  /** Of every plugin. */
  readonly files?: PluginFiles;
}

/** A config with the plugins of `sections`, one after the other; the plugins find nothing wrong with them. */
function prepared({ config, sections = { a: 1, b: 1 }, permissions, files = {} }: Changes = {}): Prepared {
  const names = Object.keys(sections);
  return {
    config: {
      listeners: [listener],
      limits: TEST_LIMITS,
      tls: { certificates: [] },
      admin,
      log: { level: "info", format: "json" },
      plugins: names.map((name) => ({ name, declaration, section: sections[name] })),
      ...config,
    },
    plugins: names.map((name): CheckedPlugin => ({
      name,
      module: declaration.module,
      isolation: declaration.isolation,
      config: sections[name],
      traits: { routeTimeoutMs: 5000 },
      files,
      watched: [],
      permissions: { ...NO_PERMISSIONS, ...permissions },
    })),
  };
}

/** What of the new config is taken at once: everything, when nothing needs a restart. */
const live: Record<string, Changes> = {
  "another section of a plugin": { sections: { a: 2, b: 1 } },
  "other limits": { config: { limits: { ...TEST_LIMITS, maxConnections: 5 } } },
  "other certificates": { config: { tls: { certificates: [{ cert: "c.pem", key: "k.pem" }] } } },
  "another token": { config: { admin: { ...admin, token: "new" } } },
  "other trusted proxies": { config: { listeners: [{ ...listener, proxyFrom: ["10.0.0.0/8"] }] } },
};

for (const [what, changes] of Object.entries(live)) {
  Deno.test(`planReload() takes ${what} at once`, () => {
    const next = prepared(changes);
    assert.deepEqual(planReload(prepared(), next), { prepared: next, needRestart: [] });
  });
}

/** What needs a restart stays as it is, and so does all that hangs together with it. */
const kept: Record<string, { changes: Changes; needRestart: string[] }> = {
  "another address": {
    changes: { config: { listeners: [{ ...listener, address: "127.0.0.1:444", port: 444 }] } },
    needRestart: ["listeners"],
  },
  "one listener more": {
    changes: { config: { listeners: [listener, { ...listener, address: "127.0.0.1:80", port: 80 }] } },
    needRestart: ["listeners"],
  },
  "another kind of listener": {
    changes: { config: { listeners: [{ ...listener, kind: "http" }] } },
    needRestart: ["listeners"],
  },
  "another admin address": {
    changes: { config: { admin: { ...admin, address: "127.0.0.1:9091", port: 9091 } } },
    needRestart: ["admin.address"],
  },
  "another log": {
    changes: { config: { log: { level: "debug", format: "json" } } },
    needRestart: ["log"],
  },
  "another order of plugins": { changes: { sections: { b: 1, a: 1 } }, needRestart: ["plugins"] },
  "a plugin more": { changes: { sections: { a: 1, b: 1, c: 1 } }, needRestart: ["plugins"] },
  "a plugin less": { changes: { sections: { a: 1 } }, needRestart: ["plugins"] },
  "a plugin more, and another section of one that stays": {
    changes: { sections: { a: 2, b: 1, c: 1 } },
    needRestart: ["plugins"],
  },
};

for (const [what, { changes, needRestart }] of Object.entries(kept)) {
  Deno.test(`planReload() leaves ${what} for a restart, and says so`, () => {
    const old = prepared();
    assert.deepEqual(planReload(old, prepared(changes)), { prepared: old, needRestart });
  });
}

for (const permissions of [{ net: ["10.0.0.1:5432"] }, { net: true }, { env: ["SECRET"] }]) {
  Deno.test(`planReload() leaves a plugin that would be granted ${JSON.stringify(permissions)} as it was`, () => {
    const old = prepared({ permissions: { net: ["10.0.0.9:5432"] } });
    const plan = planReload(old, prepared({ permissions, sections: { a: 2, b: 2 } }));
    assert.deepEqual(plan.prepared.plugins, old.plugins);
    assert.deepEqual(plan.needRestart, ["plugins.a (other permissions)", "plugins.b (other permissions)"]);
  });
}

const acmeConfig: AcmeConfig = { directory: "https://a.example/dir", cache: "/c", challenges: ["http-01"] };

/** A config by which certificates are asked for. */
function asking(change: Partial<AcmeConfig>): Prepared {
  const acme = { ...acmeConfig, ...change };
  const { directory, cache, email } = acme;
  return {
    ...prepared({ config: { tls: { certificates: [], acme } } }),
    acme: {
      settings: { directory, cache, ...(email !== undefined && { email }) },
      permissions: acmePermissions(acme),
    },
  };
}

Deno.test("planReload() takes what it asks certificates by, as long as that needs no other permission", () => {
  const next = asking({ email: "a@b.example", directory: "https://a.example/other" });
  assert.deepEqual(planReload(asking({}), next), { prepared: next, needRestart: [] });
});

for (
  const [what, change] of Object.entries({
    "another directory": { directory: "https://b.example/dir" },
    "another cache": { cache: "/d" },
    "a webhook": { dns01: { webhook: "https://c.example", propagationMs: 0 } },
  })
) {
  Deno.test(`planReload() leaves ${what} for a restart, and says so`, () => {
    const old = asking({});
    const plan = planReload(old, asking(change));
    assert.deepEqual(plan, { prepared: old, needRestart: ["tls.acme (other permissions)"] });
  });
}

Deno.test("planReload() neither begins to ask for certificates nor ends it", () => {
  const [without, withAcme] = [prepared(), asking({})];
  const needRestart = ["tls.acme (other permissions)"];
  assert.deepEqual(planReload(without, withAcme), { prepared: without, needRestart });
  assert.deepEqual(planReload(withAcme, without), { prepared: withAcme, needRestart });
});

/** A revocation list takes effect whatever else of the change needs a restart. */
const keptForRestart: Record<string, Changes> = {
  "a plugin more is for a restart": { sections: { a: 2, b: 1, c: 1 } },
  "other permissions are for a restart": { sections: { a: 2, b: 1 }, permissions: { net: true } },
};

for (const [what, changes] of Object.entries(keptForRestart)) {
  Deno.test(`planReload() takes what stands in the files of before while ${what}`, () => {
    const old = prepared({ files: { "revoked.crl": "old", "gone.pem": "kept" } });
    const next = prepared({ ...changes, files: { "revoked.crl": "new", "more.pem": "of the new section" } });
    const { prepared: { plugins }, needRestart } = planReload(old, next);
    assert.deepEqual(plugins.map(({ config }) => config), [1, 1]);
    for (const { files } of plugins) assert.deepEqual(files, { "revoked.crl": "new", "gone.pem": "kept" });
    assert.ok(needRestart.length > 0);
  });
}

Deno.test("planReload() takes what can change beside what cannot", () => {
  const limits = { ...TEST_LIMITS, maxConnections: 5 };
  const next = prepared({
    sections: { a: 2, b: 1 },
    config: { limits, listeners: [{ ...listener, kind: "http", proxyFrom: ["10.0.0.0/8"] }] },
  });
  const { prepared: taken, needRestart } = planReload(prepared(), next);
  assert.deepEqual(needRestart, ["listeners"]);
  assert.deepEqual(taken.plugins, next.plugins);
  assert.deepEqual(taken.config.limits, limits);
  assert.deepEqual(
    taken.config.listeners,
    [{ ...listener, proxyFrom: ["10.0.0.0/8"] }],
    "whose PROXY headers are believed can change while the socket stays",
  );
});

Deno.test("planReload() finds that nothing has changed", () => {
  assert.deepEqual(planReload(prepared(), prepared()), { prepared: prepared(), needRestart: [] });
});
