/** What a gateway with every plugin counts, held against the list of the product, the dashboard and the alerts. */
import assert from "node:assert/strict";
import { parse } from "yaml";
import { createAuthority } from "../support/certificates.ts";
import { startEcho } from "../support/echo.ts";
import { HttpClient } from "../support/http_client.ts";
import { writePem } from "../support/openssl.ts";
import { freePort, temporaryFolder } from "../support/processes.ts";
import { ECHOED, sayHello } from "../support/ssh_like.ts";
import { DOMAIN, http, tcp, Tunnels } from "../support/tunnels.ts";
import { until } from "../support/until.ts";
import { type ExpositionFamily, parseExposition } from "../core/admin/exposition.ts";
import { can } from "./can.ts";

type Families = ReadonlyMap<string, ExpositionFamily>;

/** Metrics that scripts and dashboards of users rely on, with the labels that they have at least. */
const PROMISED: readonly (readonly [name: string, type: string, ...labels: string[]])[] = [
  ["connections_total", "counter", "listener", "plugin", "result"],
  ["connections_active", "gauge", "plugin"],
  ["bytes_total", "counter", "direction", "plugin"],
  ["preface_seconds", "histogram"],
  ["route_seconds", "histogram", "plugin"],
  ["connect_seconds", "histogram", "plugin"],
  ["rejected_total", "counter", "reason"],
  ["tls_handshake_seconds", "histogram"],
  ["tunnels_active", "gauge"],
  ["tunnel_streams_active", "gauge"],
  ["http_requests_total", "counter", "code"],
  ["http_request_seconds", "histogram"],
  ["auth_failures_total", "counter", "plugin", "reason"],
  ["authz_failures_total", "counter"],
  ["cloudflared_processes", "gauge"],
  ["cloudflared_restarts_total", "counter"],
  ["plugin_up", "gauge", "plugin"],
  ["plugin_restarts_total", "counter", "plugin"],
  ["start_time_seconds", "gauge"],
  ["resident_memory_bytes", "gauge"],
];

/** Prometheus adds these itself. */
const SCRAPE_LABELS = ["job", "instance"];

function text(path: string): Promise<string> {
  return Deno.readTextFile(new URL(`../../${path}`, import.meta.url));
}

/** Brings traffic of each kind to a gateway with every plugin. @returns What `/metrics` says then. */
async function scrapeAfterTraffic(): Promise<Families> {
  await using folder = await temporaryFolder();
  await using echo = startEcho();
  await using service = Deno.serve(
    { hostname: "127.0.0.1", port: 0, onListen() {} },
    () => new Response("hi"),
  );
  const ca = await writePem(folder.path, "ca", (await createAuthority()).certificate);
  const nobody = freePort();
  await using tunnels = await Tunnels.start({
    hostnames: ["*.db.internal"],
    plugins: {
      static: {
        routes: [{ protocol: "ssh", to: echo.target }, { protocol: "http", to: `127.0.0.1:${nobody}` }],
      },
      cloudflared: { command: "true", names: ["*.cf.example"] },
      "mtls-postgres": {
        domain: "db.internal",
        issuer: "example.com",
        caCertificates: [ca],
        database: { host: "127.0.0.1", port: nobody, user: "u", password: "p", name: "n" },
      },
    },
  });
  await using _ = await tunnels.agent([
    http("app", `127.0.0.1:${service.addr.port}`),
    tcp("echo", echo.target),
  ]);
  assert.equal(await sayHello(tunnels.port), ECHOED);
  using client = new HttpClient(await tunnels.connectTls("app"), `app.${DOMAIN}`);
  assert.equal((await client.request()).text, "hi");
  await assert.rejects(tunnels.connectHost("nobody.example"), "refused by an alert");
  await (await fetch(`http://127.0.0.1:${tunnels.port}/`)).body?.cancel();
  const stranger = "host.db.internal";
  await tunnels.connectHost(stranger).then((tls) => tls.read(new Uint8Array(1)).finally(() => tls.close()))
    .catch(() => {}); // without a client certificate nobody gets in
  let families: Families = new Map();
  await until(async () => {
    families = parseExposition(await (await fetch(`${tunnels.gateway.adminUrl}/metrics`)).text());
    return count(families, "auth_failures_total", { reason: "tls_no_certificate" }) === 1 &&
      count(families, "connections_total", { plugin: "static", result: "connect_failed" }) === 1;
  }, { what: "all to be counted" });
  return families;
}

function count(families: Families, name: string, labels: Readonly<Record<string, string>>): number {
  return (families.get(`postern_${name}`)?.samples ?? [])
    .filter((sample) => Object.entries(labels).every(([label, value]) => sample.labels[label] === value))
    .reduce((sum, { value }) => sum + value, 0);
}

/** The labels of a metric, by the name that stands in an expression: `postern_x_bucket` is of `postern_x`. */
function labelsOf(families: Families, name: string): ReadonlySet<string> | undefined {
  const family = families.get(name) ?? families.get(name.replace(/_(?:bucket|sum|count)$/, ""));
  return family && new Set(family.samples.flatMap(({ labels }) => Object.keys(labels)));
}

/** What is wrong with an expression: a metric that there is not, or a label that its metrics do not have. */
function faultsOf(expr: string, families: Families): string[] {
  const known = new Set(SCRAPE_LABELS);
  const faults: string[] = [];
  for (const [, name = "", selectors = ""] of expr.matchAll(/\b(postern_[a-z_]+)(?:\{([^}]*)\})?/g)) {
    const labels = labelsOf(families, name);
    if (labels === undefined) faults.push(`there is no ${name}`);
    for (const label of labels ?? []) known.add(label);
    for (const [, label = ""] of selectors.matchAll(/([a-z_]+)\s*[=!]/g)) {
      if (!labels?.has(label) && !SCRAPE_LABELS.includes(label)) {
        faults.push(`${name} has no label "${label}"`);
      }
    }
  }
  for (const [, list = ""] of expr.matchAll(/\bby \(([^)]*)\)/g)) {
    for (const label of list.split(/,\s*/)) {
      if (!known.has(label)) faults.push(`nothing has "${label}" in ${expr}`);
    }
  }
  return faults;
}

interface Panel {
  readonly id: number;
  readonly type: string;
  readonly title: string;
  readonly gridPos: Readonly<Record<"h" | "w" | "x" | "y", number>>;
  readonly datasource?: { readonly uid: string };
  readonly targets?: readonly {
    readonly refId: string;
    readonly expr: string;
    readonly legendFormat: string;
  }[];
}

Deno.test({
  name: "a gateway with every plugin counts all that is promised, and no more than dashboard and alerts know",
  ignore: !can("true"),
  async fn(t) {
    const families = await scrapeAfterTraffic();

    await t.step("every promised metric is there, with its labels", () => {
      for (const [name, type, ...labels] of PROMISED) {
        assert.equal(families.get(`postern_${name}`)?.type, type, name);
        const had = labelsOf(families, `postern_${name}`);
        assert.deepEqual(labels.filter((label) => !had?.has(label)), [], name);
      }
      assert.equal(count(families, "connections_total", { plugin: "static", result: "ok" }), 1);
      assert.equal(count(families, "rejected_total", { reason: "unknown_name" }), 1);
      assert.equal(count(families, "http_requests_total", { code: "200" }), 1);
      assert.equal(count(families, "tunnels_active", {}), 1);
      assert.equal(count(families, "bytes_total", { plugin: "static", direction: "in" }), ECHOED.length);
      assert.equal(count(families, "plugin_up", {}), 4);
      assert.equal(count(families, "certificates", { source: "files", state: "valid" }), 1);
    });

    await t.step("no label has what a stranger chose, and none has many values", () => {
      for (const [name, { samples }] of families) {
        const values = Map.groupBy(
          samples.flatMap(({ labels }) => Object.entries(labels)),
          ([label]) => label,
        );
        for (const [label, entries] of values) {
          const distinct = new Set(entries.map(([, value]) => value));
          assert.ok(distinct.size <= 64, `${name}{${label}}`);
          for (const value of distinct) assert.doesNotMatch(value, /nobody\.example|host\.db\./, name);
        }
      }
    });

    await t.step("every metric is written down", async () => {
      const pages = [
        "admin-api",
        "plugins/static",
        "plugins/ws-agent",
        "plugins/cloudflared",
        "plugins/mtls-postgres",
      ];
      const docs = (await Promise.all(pages.map((page) => text(`docs/${page}.md`)))).join("\n");
      const missing = [...families.keys()].map((name) => name.slice("postern_".length))
        .filter((name) => !new RegExp(`\\b(?:postern_)?${name}\\b`).test(docs));
      assert.deepEqual(missing, []);
    });

    await t.step("the dashboard is sound, and its expressions are about metrics that there are", async () => {
      const dashboard = JSON.parse(await text("docs/grafana-dashboard.json"));
      const panels: readonly Panel[] = dashboard.panels;
      assert.ok(dashboard.schemaVersion >= 36 && dashboard.title === "Postern" && panels.length > 20);
      assert.equal(new Set(panels.map(({ id }) => id)).size, panels.length);
      assert.deepEqual(dashboard.templating.list.map(({ name }: { name: string }) => name), [
        "datasource",
        "job",
        "instance",
      ]);
      assertNoOverlap(panels);
      const charts = panels.filter(({ type }) => type !== "row");
      for (const { title, datasource, targets = [] } of charts) {
        assert.equal(datasource?.uid, "${datasource}", title);
        assert.ok(targets.length > 0 && targets.every(({ refId, expr }) => refId && expr), title);
        assert.deepEqual(targets.flatMap(({ expr }) => faultsOf(expr, families)), [], title);
        for (const { expr, legendFormat } of targets) {
          assert.match(expr, /job=~"\$job", instance=~"\$instance"/, title);
          for (const [, label = ""] of legendFormat.matchAll(/\{\{(\w+)\}\}/g)) {
            assert.match(expr, new RegExp(`by \\([^)]*\\b${label}\\b|build_info|resident|expiry`), title);
          }
        }
      }
      const shown = charts.flatMap(({ targets = [] }) => targets.map(({ expr }) => expr)).join("\n");
      const unseen = PROMISED.map(([name]) => name).filter((name) => !shown.includes(`postern_${name}`));
      assert.deepEqual(unseen, []);
    });

    await t.step("the alerts are sound, and about metrics that there are", async () => {
      const { groups } = parse(await text("docs/prometheus-alerts.yaml"));
      const rules: readonly {
        alert: string;
        expr: string;
        labels: { severity: string };
        annotations: object;
      }[] = groups.flatMap((group: { rules: unknown[] }) => group.rules);
      assert.ok(rules.length > 10);
      assert.equal(new Set(rules.map(({ alert }) => alert)).size, rules.length);
      for (const { alert, expr, labels, annotations } of rules) {
        assert.match(alert, /^Postern[A-Za-z]+$/);
        assert.deepEqual(faultsOf(expr, families), [], alert);
        assert.match(expr, /postern/, alert);
        assert.ok(["info", "warning", "critical"].includes(labels.severity), alert);
        assert.ok("summary" in annotations, alert);
      }
      const wrong = faultsOf('sum by (nope) (postern_nope{a="b"})', families);
      assert.equal(wrong.length, 3, "what is wrong is found");
    });
  },
});

function assertNoOverlap(panels: readonly Panel[]): void {
  const taken = new Map<string, string>();
  for (const { title, gridPos: { h, w, x, y } } of panels) {
    assert.ok(x + w <= 24, title);
    for (let row = y; row < y + h; row++) {
      for (let column = x; column < x + w; column++) {
        assert.equal(taken.get(`${row} ${column}`), undefined, `${title} covers another panel`);
        taken.set(`${row} ${column}`, title);
      }
    }
  }
}
