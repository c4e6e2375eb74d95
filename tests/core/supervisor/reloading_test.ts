import assert from "node:assert/strict";
import { TestGateway, type TestGatewayOptions } from "../../support/gateway.ts";
import { granted } from "../../support/permissions.ts";
import { sayHello } from "../../support/ssh_like.ts";
import { until } from "../../support/until.ts";

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
