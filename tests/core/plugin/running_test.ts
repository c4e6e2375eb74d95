import assert from "node:assert/strict";
import { createLog, type LogEvent } from "../../../core/log.ts";
import { InlineHandle } from "../../../core/plugin/host.ts";
import { importDefinition, RunningPlugin } from "../../../core/plugin/running.ts";
import { granted } from "../../support/permissions.ts";
import { pluginContext } from "../../support/plugin_context.ts";
import { until } from "../../support/until.ts";
import { connection } from "../../plugins/connection.ts";

const module = new URL("../../testdata/plugins/counts_lives.ts", import.meta.url).href;
const ignore = !granted("read");

interface Lives {
  readonly plugin: RunningPlugin;
  readonly events: LogEvent[];
  /** What has happened to the instances since this one was begun. */
  lives(): string[];
}

async function start(config: unknown, timeoutMs?: number): Promise<Lives> {
  const { lives } = await import("../../testdata/plugins/counts_lives.ts");
  lives.length = 0;
  const events: LogEvent[] = [];
  const log = createLog("test", "debug", (event) => events.push(event));
  const plugin = await RunningPlugin.start(module, config, pluginContext({ name: "mine", log }), {
    ...(timeoutMs !== undefined && { timeoutMs }),
  });
  return { plugin, events, lives: () => [...lives] };
}

Deno.test({
  name: "a plugin without reload gets a new instance first, and the old one is disposed then",
  ignore,
  async fn() {
    const { plugin, lives } = await start({ id: 1 });
    const handle = new InlineHandle("mine", { routeTimeoutMs: 1000 }, plugin);
    const decides = () =>
      (handle.route(connection(), { signal: AbortSignal.any([]) }) as { detail: string }).detail;
    assert.equal(decides(), "1");
    await plugin.reload({ id: 2 }, {});
    assert.equal(decides(), "2", "who holds the plugin has the new one at once");
    await plugin[Symbol.asyncDispose]();
    assert.deepEqual(lives(), ["start 1", "start 2", "dispose 1", "dispose 2"]);
  },
});

Deno.test({
  name: "when the new instance does not start, the old one stays",
  ignore,
  async fn() {
    await using stack = new AsyncDisposableStack();
    const { plugin, lives } = await start({ id: 1 });
    stack.use(plugin);
    await assert.rejects(plugin.reload({ id: 2, start: "throws" }, {}), {
      code: "plugin-failed",
      message: 'Plugin "mine" did not take its new config: no 2',
    });
    assert.deepEqual(lives(), ["start 1"]);
  },
});

Deno.test({
  name: "an instance that starts too late is not used, and is disposed once it is there",
  ignore,
  async fn() {
    const { plugin, lives } = await start({ id: 1 });
    await assert.rejects(plugin.reload({ id: 2, start: "late" }, {}, 5), {
      code: "plugin-failed",
      message: 'Plugin "mine" did not take its new config: no answer in 5 ms',
    });
    await until(() => lives().includes("dispose 2"), { what: "the late one to be disposed" });
    await plugin[Symbol.asyncDispose]();
    assert.deepEqual(lives(), ["start 1", "start 2", "dispose 2", "dispose 1"]);
  },
});

Deno.test({
  name: "a first start that takes too long is named, and what comes of it is disposed",
  ignore,
  async fn() {
    const { lives } = await import("../../testdata/plugins/counts_lives.ts");
    await assert.rejects(start({ id: 1, start: "late" }, 5), {
      code: "plugin-failed",
      message: 'Plugin "mine" did not start: no answer in 5 ms',
    });
    await until(() => lives.includes("dispose 1"), { what: "the late one to be disposed" });
  },
});

Deno.test({
  name: "an instance that cannot end in order is told of, and stops nothing",
  ignore,
  async fn() {
    const { plugin, events } = await start({ id: 1, dispose: "rejects" });
    await plugin.reload({ id: 2, dispose: "rejects" }, {});
    await plugin[Symbol.asyncDispose]();
    assert.deepEqual(events.map(({ event, fields }) => [event, fields["reason"]]), [
      ["plugin_dispose_failed", "1 will not go"],
      ["plugin_dispose_failed", "2 will not go"],
    ]);
  },
});

for (
  const [status, reason] of [["throws", /^No report: no idea$/], [
    "hangs",
    /^No report: no answer in 5 ms$/,
  ]] as const
) {
  Deno.test({
    name: `a report that ${status} says so, and rejects nothing`,
    ignore,
    async fn() {
      await using stack = new AsyncDisposableStack();
      const { plugin } = await start({ id: 1, status });
      stack.use(plugin);
      const report = await plugin.report(5);
      assert.deepEqual([report.status.ready, report.routes, report.metrics], [false, [], []]);
      assert.match(report.status.reason ?? "", reason);
    },
  });
}

Deno.test({
  name: "a report is plain data, which crosses to other workers whatever the plugin has put into it",
  ignore,
  async fn() {
    await using stack = new AsyncDisposableStack();
    const { plugin } = await start({ id: 1, status: "is code" });
    stack.use(plugin);
    const report = await plugin.report();
    assert.deepEqual(structuredClone(report), {
      status: { ready: true, details: {} },
      routes: [],
      metrics: [],
    });
  },
});

Deno.test({
  name: "the tunnels of a plugin are those of the instance that answers now; one without any has none",
  ignore,
  async fn() {
    await using stack = new AsyncDisposableStack();
    const { plugin, lives } = await start({ id: 1 });
    stack.use(plugin);
    plugin.drain();
    assert.deepEqual([plugin.tunnels(), plugin.closeTunnel("1")], [[], false]);
    await plugin.reload({ id: 2, tunnels: "one" }, {});
    assert.deepEqual(plugin.tunnels().map(({ id }) => id), ["2"]);
    assert.deepEqual([plugin.closeTunnel("1"), plugin.closeTunnel("2")], [false, true]);
    plugin.drain();
    assert.equal(lives().at(-1), "drain 2");
  },
});

Deno.test({
  name: "a plugin that fails to tell of its tunnels has none, and the log hears of it",
  ignore,
  async fn() {
    await using stack = new AsyncDisposableStack();
    const { plugin, events } = await start({ id: 1, tunnels: "throws" });
    stack.use(plugin);
    assert.deepEqual([plugin.tunnels(), plugin.closeTunnel("1"), plugin.drain()], [[], false, undefined]);
    assert.deepEqual(events.map(({ event, fields }) => [event, fields["hook"], fields["reason"]]), [
      ["plugin_fault", "tunnels", "no idea"],
      ["plugin_fault", "closeTunnel", "no idea"],
      ["plugin_fault", "drain", "no idea"],
    ]);
  },
});

for (const file of ["no_plugin.ts", "../../support/until.ts"]) {
  Deno.test({
    name: `importDefinition() refuses ${file}, and says what to write`,
    ignore,
    async fn() {
      await assert.rejects(importDefinition(new URL(file, module).href), {
        name: "TypeError",
        message: /has no plugin as its default export; write "export default definePlugin/,
      });
    },
  });
}
