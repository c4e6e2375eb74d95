import assert from "node:assert/strict";
import { writeAll } from "../../core/byte_stream.ts";
import { startEcho } from "../support/echo.ts";
import { TestGateway } from "../support/gateway.ts";
import { granted } from "../support/permissions.ts";
import { ECHOED, sayHello } from "../support/ssh_like.ts";
import { until } from "../support/until.ts";

const ignore = !granted("read", "write", "env", "run", "sys", "ffi", "net");
const troubled = new URL("../testdata/plugins/troubled.ts", import.meta.url).href;

async function get(gateway: TestGateway, path: string): Promise<{ status: number; text: string }> {
  const response = await fetch(`${gateway.adminUrl}${path}`);
  return { status: response.status, text: await response.text() };
}

Deno.test({
  name:
    "while a plugin is down, /readyz is 503 and names it, and status and metrics say so; then all is well again",
  ignore,
  async fn() {
    await using echo = startEcho();
    await using gateway = await TestGateway.start({
      yaml: `plugins: { static: {}, troubled: { to: "${echo.target}", trouble: exits } }`,
      declarations: { troubled: { module: troubled, isolation: "worker", permissions: {} } },
      threads: 2,
      times: { pingMs: 100, firstBackoffMs: 1500 },
    });
    assert.equal((await get(gateway, "/readyz")).status, 200);
    const up = /^postern_plugin_up\{plugin="(.*)"\} (\d)$/gm;
    const upNow = async () => {
      const { text } = await get(gateway, "/metrics");
      return Object.fromEntries(Array.from(text.matchAll(up), ([, plugin, value]) => [plugin, value]));
    };
    assert.deepEqual(await upNow(), { static: "1", troubled: "1" });

    using bringer = await gateway.connect();
    await writeAll(bringer, new TextEncoder().encode("trouble\r\n\r\n"));
    const unit = gateway.supervisor.pluginUnits.get("troubled");
    await until(() => unit?.worker.up === false, { what: "the plugin to be missed" });
    const { status, text } = await get(gateway, "/readyz");
    assert.equal(status, 503);
    assert.match(text, /plugin troubled: down/);
    assert.doesNotMatch(text, /static/);
    assert.equal((await get(gateway, "/healthz")).status, 200, "it is alive all the same");
    assert.deepEqual(await upNow(), { static: "1", troubled: "0" });
    const rows = JSON.parse((await get(gateway, "/api/v1/status")).text).plugins;
    const shown = rows.map(({ name, state }: { name: string; state: string }) => [name, state]);
    assert.deepEqual(shown, [["static", "up"], ["troubled", "down"]]);

    await until(async () => (await get(gateway, "/readyz")).status === 200, {
      what: "the plugin to be ready",
    });
    assert.deepEqual(await upNow(), { static: "1", troubled: "1" });
    assert.equal(await sayHello(gateway.port()), ECHOED);
  },
});

Deno.test({
  name: "a plugin whose report hangs hides no other",
  ignore,
  async fn() {
    await using echo = startEcho();
    await using gateway = await TestGateway.start({
      yaml: `plugins: { static: {}, troubled: { to: "${echo.target}", trouble: "is busy" } }`,
      declarations: { troubled: { module: troubled, isolation: "worker", permissions: {} } },
    });
    using bringer = await gateway.connect();
    await writeAll(bringer, new TextEncoder().encode("trouble\r\n\r\n"));
    // It is busy for two seconds, as long as a report is waited for: what matters is that an answer comes at all.
    const { status, text } = await get(gateway, "/api/v1/plugins");
    assert.equal(status, 200);
    assert.match(text, /"static"/);
    assert.equal(gateway.supervisor.pluginUnits.get("troubled")?.worker.restarts, 0);
  },
});
