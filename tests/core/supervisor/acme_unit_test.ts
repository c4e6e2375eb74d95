import assert from "node:assert/strict";
import { AcmeCache } from "../../../core/acme/cache.ts";
import type { AcmeState } from "../../../core/acme/contract.ts";
import { acmePermissions } from "../../../core/acme/permissions.ts";
import { NO_PERMISSIONS } from "../../../core/config/permissions.ts";
import { createLog, type LogEvent } from "../../../core/log.ts";
import { AcmeUnit } from "../../../core/supervisor/acme_unit.ts";
import { certificateRows, orderSamples } from "../../../core/supervisor/certificate_rows.ts";
import type { AcmeUse, GatewayState } from "../../../core/supervisor/state.ts";
import type { CertificateMaterial } from "../../../core/tls/certificates.ts";
import { startAcmeDirectory } from "../../support/acme_directory.ts";
import { createCertificate } from "../../support/certificates.ts";
import { granted } from "../../support/permissions.ts";
import { temporaryFolder } from "../../support/processes.ts";
import { until } from "../../support/until.ts";

function material(notAfter: number, ...names: string[]): CertificateMaterial {
  return { names, certPem: "", keyPem: "", notAfter, fingerprint: names.join(), source: names.join() };
}

/** A unit whose worker never starts, among routes and files. */
function unit(
  routes: readonly string[],
  use: AcmeUse = {
    settings: { directory: "https://a.example/dir", cache: "/c" },
    permissions: NO_PERMISSIONS,
  },
  files: readonly string[] = [],
  challenges: readonly string[] = ["http-01"],
) {
  const events: LogEvent[] = [];
  const told: unknown[] = [];
  const state = {
    log: createLog("test", "debug", (event) => events.push(event)),
    times: { firstBackoffMs: 10 },
    prepared: { acme: use },
    configurePlanes: () => Promise.resolve(),
    logMethods: () => ({ log: () => {} }),
    plugins: [{ traits: { terminates: routes } }],
    certificates: files.length === 0 ? [] : [material(0, ...files)],
    config: { tls: { acme: { challenges } }, log: { level: "info" } },
    planes: [{ rpc: { call: (_method: string, acme: unknown) => Promise.resolve(told.push(acme)) } }],
  };
  const made = new AcmeUnit(state as unknown as GatewayState, use);
  return { made, events, told };
}

const HTTP = { protocol: "http", owner: "alice" };

Deno.test("data planes know of a name that waits before its agent is told that it has it, and of no stray one", async () => {
  const { made, told } = unit(["app.example.com", "*.example.net"], undefined, ["*.example.org"]);
  made.refresh();
  await made.claimed("shop.example.com", HTTP);
  assert.deepEqual(told.at(-1), { awaited: ["app.example.com", "shop.example.com"], challenges: {} });
  await made.claimed("own.example.com", { protocol: "tls", owner: "alice" }); // it shows its own
  await made.claimed("covered.example.org", HTTP);
  assert.deepEqual(made.forPlanes().awaited, ["app.example.com", "shop.example.com"]);
  made.ended("shop.example.com");
  assert.deepEqual(made.forPlanes().awaited, ["app.example.com"]);
});

Deno.test("an owner who makes up names does not use up what there is for all", async () => {
  const { made, events, told } = unit([]);
  await Promise.all(Array.from({ length: 60 }, (_, i) => made.claimed(`n${i}.example.com`, HTTP)));
  assert.equal(made.forPlanes().awaited.length, 50);
  assert.equal(events.filter(({ event }) => event === "acme_name_left").length, 10);
  await made.claimed("shop.example.com", { protocol: "http", owner: "bob" });
  assert.equal(made.forPlanes().awaited.at(-1), "shop.example.com");
  const before = told.length;
  for (let again = 0; again < 9; again++) await made.claimed("n0.example.com", HTTP); // an agent that reconnects
  made.ended("n59.example.com"); // it had to wait
  assert.equal(told.length, before);
  assert.equal(made.forPlanes().awaited.length, 51);
});

Deno.test("a key that is no name is nobody's reason for a certificate, and ends nothing", async () => {
  const { made, told } = unit([]);
  for (const key of ["", "-", "Upper.example.com", "a..b", "x y.example.com", "1.2.3.4", "*.example.com"]) {
    await made.claimed(key, HTTP);
    made.refresh();
    made.ended(key);
  }
  await made.claimed("shop.example.com", HTTP);
  assert.deepEqual(told.at(-1), { awaited: ["shop.example.com"], challenges: {} });
});

Deno.test("many claims at once are told to the data planes a few times", async () => {
  const { made, told } = unit([]);
  await Promise.all(Array.from({ length: 40 }, (_, i) => made.claimed(`n${i}.example.com`, HTTP)));
  assert.ok(told.length <= 2, `${told.length}`);
  assert.equal((told.at(-1) as { awaited: unknown[] }).awaited.length, 40);
});

Deno.test({
  name:
    "a worker that crashes is started anew with the cache, and asks on; who waits for a challenge asks again",
  ignore: !granted("read", "write", "env", "net", "sys", "run", "ffi"),
  async fn() {
    await using folder = await temporaryFolder();
    const directory = "https://127.0.0.1:1/dir";
    const log = createLog("test", "error", () => {});
    const cache = await AcmeCache.open(folder.path, directory, log);
    const { certificate, key } = await createCertificate("kept.example.com");
    await cache.writeCertificate("kept.example.com", { certPem: certificate, keyPem: key });
    const settings = { directory, cache: folder.path };
    const permissions = acmePermissions({ directory, cache: folder.path });
    const { made } = unit(["kept.example.com", "new.example.com"], { settings, permissions });
    try {
      await made.worker.start();
      assert.deepEqual(made.certificates().map(({ names }) => names), [["kept.example.com"]]);
      const { certificates } = made.report;
      made.begin();
      const rowOf = (name: string) => made.report.names.find((row) => row.name === name);
      const failed = () => rowOf("new.example.com")?.state === "failed";
      await until(failed, { what: "the directory to be missed" });
      assert.equal(rowOf("new.example.com")?.error?.startsWith("Cannot ask 127.0.0.1:1: "), true);
      assert.doesNotMatch(rowOf("new.example.com")?.error ?? "", /\/dir/);
      assert.equal(made.report.certificates, certificates, "keys are copied when there are others");
      made.worker.restart("test");
      assert.equal(made.certificates().length, 1); // they stay in service
      await until(() => made.worker.generation === 2, { what: "another worker" });
      await until(() => rowOf("new.example.com")?.nextAttempt !== undefined, { what: "it to be asked for" });
      assert.equal(made.certificates().length, 1);
    } finally {
      made.stop();
      made.worker.stop();
    }
  },
});

Deno.test({
  name: "what must be there before anybody listens is asked for anew when the worker crashes meanwhile",
  ignore: !granted("read", "write", "env", "net", "sys", "run", "ffi"),
  async fn() {
    await using folder = await temporaryFolder();
    let crash = () => {};
    await using directory = startAcmeDirectory(async (path, visit, { signal }) => {
      if (path !== "/directory" || visit > 1) return undefined;
      const ended = new Promise((resolve) => signal.addEventListener("abort", resolve));
      crash();
      await ended;
      return undefined;
    });
    const settings = { directory: directory.url, cache: folder.path };
    const use = { settings, permissions: acmePermissions(settings) };
    const { made } = unit(["app.example.com"], use, [], ["dns-01"]);
    crash = () => made.worker.restart("test");
    try {
      await made.worker.start();
      let isOver = false;
      void made.ahead(["app.example.com"]).then(() => isOver = true);
      await until(() => isOver, { what: "the second worker to be done" });
      assert.equal(made.worker.generation, 2);
      assert.match(made.report.names[0]?.error ?? "", /offers no dns-01/);
    } finally {
      made.worker.stop();
    }
  },
});

const NOW = Date.UTC(2026, 0, 1);
const acme: AcmeState = {
  certificates: [],
  names: [
    { name: "a.example.com", state: "valid", notAfter: NOW + 1000, nextAttempt: NOW + 500, error: "No" },
    { name: "b.example.com", state: "pending" },
  ],
  orders: { issued: 3, renewed: 2, failed: 1, rate_limited: 0, unreachable: 4 },
};

Deno.test("status tells of certificates of files, of ACME and of the development CA", () => {
  const files = [
    material(NOW + 2000, "f.example.com", "*.f.example.com"),
    material(NOW - 1, "old.example.com"),
  ];
  const rows = certificateRows({ files, issued: [], isDevelopment: false, acme }, NOW);
  assert.deepEqual(rows, [
    {
      names: ["f.example.com", "*.f.example.com"],
      source: "files",
      notAfter: "2026-01-01T00:00:02.000Z",
      state: "valid",
    },
    {
      names: ["old.example.com"],
      source: "files",
      notAfter: "2025-12-31T23:59:59.999Z",
      state: "failed",
      error: "It has expired",
    },
    {
      names: ["a.example.com"],
      source: "acme",
      notAfter: "2026-01-01T00:00:01.000Z",
      state: "valid",
      error: "No",
      nextAttempt: "2026-01-01T00:00:00.500Z",
    },
    { names: ["b.example.com"], source: "acme", notAfter: "", state: "pending" },
  ]);
  const issued = [material(NOW + 1, "x.localhost")];
  const development = certificateRows({ files, issued, isDevelopment: true, acme: undefined }, NOW);
  assert.deepEqual(development.map(({ source }) => source), ["development", "development", "development"]);
});

Deno.test("status tells of so many certificates and no more, and metrics of every way in which orders end", () => {
  const files = Array.from({ length: 2000 }, (_, i) => material(NOW, `n${i}.example.com`));
  assert.equal(certificateRows({ files, issued: [], isDevelopment: false, acme }, NOW).length, 1000);
  const samples = orderSamples(acme.orders).map(({ labels, value }) => `${labels["result"]} ${value}`);
  assert.deepEqual(samples, ["issued 3", "renewed 2", "failed 1", "rate_limited 0", "unreachable 4"]);
  assert.deepEqual(orderSamples(undefined), []);
});
