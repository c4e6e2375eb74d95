import assert from "node:assert/strict";
import { TestGateway, type TestGatewayOptions } from "../../support/gateway.ts";
import { granted } from "../../support/permissions.ts";
import { sayHello } from "../../support/ssh_like.ts";
import { until } from "../../support/until.ts";
import { captureWorkers } from "../../support/workers.ts";

const module = new URL("../../testdata/plugins/one_way.ts", import.meta.url).href;
const ignore = !granted("read", "write", "env", "run", "sys", "ffi", "net");
const declaration = { module, isolation: "worker", permissions: {} } as const;

function atStep(step: number): TestGatewayOptions {
  return {
    yaml: `plugins: { leads: { step: ${step} }, lags: { step: ${step}, last: 1 } }`,
    declarations: { leads: declaration, lags: declaration },
    times: { firstBackoffMs: 50 },
  };
}

Deno.test({
  name: "a plugin that does not take its old config back after a refused reload is started anew with it",
  ignore,
  async fn() {
    await using gateway = await TestGateway.start(atStep(1));
    const units = gateway.supervisor.pluginUnits;
    await assert.rejects(gateway.reload(atStep(2)), { code: "plugin-failed" });
    await gateway.logged("reload_undo_failed");
    await until(() => units.get("leads")?.worker.restarts === 1 && units.get("leads")?.worker.up === true, {
      what: "the plugin to be back",
    });
    await sayHello(gateway.port());
    const refused = await gateway.logged("connection_refused");
    assert.deepEqual([refused["plugin"], refused["detail"]], ["leads", "step 1"]);
    assert.equal(units.get("lags")?.worker.restarts, 0, "the other one has kept its own");
  },
});

Deno.test({
  name: "an admin side that was being started anew during a reload asks for the new token",
  ignore,
  async fn() {
    const workers = captureWorkers();
    await using stack = new AsyncDisposableStack();
    stack.defer(workers.restore);
    const withToken = (token: string): TestGatewayOptions => ({
      yaml: `admin: { address: "127.0.0.1:0", token: ${token} }`,
      times: { firstBackoffMs: 10 },
    });
    const gateway = stack.use(await TestGateway.start(withToken("first")));
    const restarted = workers.holdNext("admin");
    workers.crash("admin");
    await until(() => restarted.waiting > 0, { what: "the order to start" });
    await gateway.reload(withToken("second"));
    restarted.release();
    await gateway.logged("worker_restarted");
    const status = async (token: string) => {
      const headers = { authorization: `Bearer ${token}` };
      const answer = await fetch(`${gateway.adminUrl}/api/v1/status`, { headers });
      await answer.body?.cancel();
      return answer.status;
    };
    assert.deepEqual([await status("first"), await status("second")], [401, 200]);
  },
});

Deno.test({
  name: "a refused reload that came with another token ends no session",
  ignore,
  async fn() {
    const declarations = {
      mine: { module: module.replace("one_way", "troubled"), isolation: "inline", permissions: {} },
    } as const;
    const given = (token: string, reload: string): TestGatewayOptions => ({
      yaml: `admin: { address: "127.0.0.1:0", token: ${token} }
plugins: { mine: { to: "127.0.0.1:1", reload: ${reload} } }`,
      declarations,
    });
    await using gateway = await TestGateway.start(given("first", "works"));
    const ask = async (path: string, init: RequestInit) => {
      const answer = await fetch(gateway.adminUrl + path, { ...init, redirect: "manual" });
      await answer.body?.cancel();
      return answer;
    };
    const login = { method: "POST", body: new URLSearchParams({ token: "first" }) };
    const headers = { origin: gateway.adminUrl };
    const cookie = (await ask("/login", { ...login, headers })).headers.get("set-cookie")?.split(";")[0] ??
      "";
    const page = async () => (await ask("/", { headers: { accept: "text/html", cookie } })).status;
    assert.equal(await page(), 200);
    await assert.rejects(gateway.reload(given("second", "throws")), { code: "plugin-failed" });
    assert.equal(await page(), 200);
    await gateway.reload(given("second", "works"));
    assert.equal(await page(), 303);
  },
});
