import assert from "node:assert/strict";
import type { GatewayStatus, GatewayTunnel } from "../../core/data_plane/snapshot.ts";
import { runHere } from "../cli/run_cli.ts";
import { TestGateway } from "../support/gateway.ts";
import { until } from "../support/until.ts";
import { can } from "./can.ts";
import { metric } from "./metrics.ts";

const ignore = !can();
const module = new URL("../testdata/plugins/tunnelled.ts", import.meta.url).href;

function start(): Promise<TestGateway> {
  return TestGateway.start({
    yaml: "plugins: { tunnelled: {} }",
    declarations: { tunnelled: { module, isolation: "inline", permissions: {} } },
    threads: 2,
  });
}

async function tunnelsOf(gateway: TestGateway): Promise<readonly GatewayTunnel[]> {
  const response = await fetch(`${gateway.adminUrl}/api/v1/tunnels`);
  return (await response.json()).tunnels;
}

async function statusOf(gateway: TestGateway): Promise<GatewayStatus> {
  return await (await fetch(`${gateway.adminUrl}/api/v1/status`)).json();
}

Deno.test({
  name: "the admin API and status show the tunnels of all data planes, and close the one that is named",
  ignore,
  async fn() {
    await using gateway = await start();
    const rows = await tunnelsOf(gateway);
    assert.deepEqual(rows.map(({ plugin, owner }) => [plugin, owner]), [
      ["tunnelled", "laptops"],
      ["tunnelled", "laptops"],
    ]);
    assert.equal(new Set(rows.map(({ id }) => id)).size, 2);
    const limited = await (await fetch(`${gateway.adminUrl}/api/v1/tunnels?limit=1`)).json();
    assert.deepEqual([limited.tunnels.length, limited.truncated], [1, true]);

    assert.equal((await statusOf(gateway)).tunnels.active, 2);

    const [first, second] = rows;
    const close = async () => {
      const url = `${gateway.adminUrl}/api/v1/tunnels/${first?.id}`;
      const response = await fetch(url, { method: "DELETE" });
      await response.body?.cancel();
      return response.status;
    };
    assert.deepEqual([await close(), await close()], [204, 404]);
    assert.deepEqual((await tunnelsOf(gateway)).map(({ id }) => id), [second?.id]);

    const { tunnels } = await statusOf(gateway);
    assert.deepEqual([tunnels.active, tunnels.oldest.map(({ id }) => id)], [1, [second?.id]]);
    const { code, stdout } = await runHere("status", "--admin", gateway.adminUrl);
    assert.equal(code, 0);
    assert.match(
      stdout,
      new RegExp(`\n${second?.id} +laptops +192\\.0\\.2\\.1:4711 .*https://app\\.example\\.com`),
    );
  },
});

Deno.test({
  name: "histograms of an inline plugin are added up over the data planes",
  ignore,
  async fn() {
    await using gateway = await start();
    assert.equal(await metric(gateway, "one_seconds", { le: "1" }), 2);
    const text = await (await fetch(`${gateway.adminUrl}/metrics`)).text();
    assert.match(text, /^postern_one_seconds_bucket\{le="\+Inf"\} 2\npostern_one_seconds_sum 1\n/m);
  },
});

Deno.test({
  name: "a gateway that drains tells its inline plugins, those of every data plane, once",
  ignore,
  async fn() {
    await using gateway = await start();
    assert.equal(await gateway.supervisor.drain(), true);
    const told = () => gateway.events.filter(({ event }) => event === "told_to_drain");
    await until(() => told().length === 2, { what: "both to be told" });
    assert.equal(new Set(told().map(({ tunnel }) => tunnel)).size, 2);
  },
});
