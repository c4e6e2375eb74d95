import assert from "node:assert/strict";
import { createLog, type LogEvent } from "../../../core/log.ts";
import type { ClosedEvent } from "../../../core/plugin/contract.ts";
import type { PlaneServices, PluginMethods } from "../../../core/plugin/host.ts";
import { openPlaneLink, type PlaneLink } from "../../../core/plugin/plane_link.ts";
import { RunningPlugin } from "../../../core/plugin/running.ts";
import { type MessageChannelEnd, openRpc, type Rpc } from "../../../core/rpc.ts";
import { connection } from "../../plugins/connection.ts";
import { pluginContext } from "../../support/plugin_context.ts";
import { until } from "../../support/until.ts";

/** A plugin that takes everything, and keeps what it is told of ends in `config.told` before it fails over them. */
const FAILING = "data:text/javascript," + encodeURIComponent(`
  export default {
    config: { safeParse: () => {} },
    start: ({ told, end }) => ({
      route: () => ({ kind: "forward", to: "127.0.0.1:1" }),
      closed(event) {
        told.push(event);
        if (end === "throws") throw new Error("cannot count");
        return Promise.reject(new Error("cannot count"));
      },
    }),
  };
`);

interface Linked extends Disposable {
  readonly told: readonly ClosedEvent[];
  readonly events: readonly LogEvent[];
  readonly link: PlaneLink;
  /** The data plane's end. */
  readonly plugin: Rpc<PluginMethods>;
}

async function linked(end: "throws" | "rejects"): Promise<Linked> {
  const told: ClosedEvent[] = [];
  const events: LogEvent[] = [];
  const log = createLog("test", "debug", (event) => events.push(event));
  const running = await RunningPlugin.start(FAILING, { told, end }, pluginContext({ name: "mine", log }));
  const { port1, port2 } = new MessageChannel();
  const services: PlaneServices = { endConnection: () => {} };
  const link = openPlaneLink(port1, running);
  const plugin = openRpc<PluginMethods>(port2 as MessageChannelEnd, services);
  return { told, events, link, plugin, [Symbol.dispose]: () => (link.lost(), port2.close()) };
}

for (const end of ["throws", "rejects"] as const) {
  Deno.test(`a plugin that ${end} over one end still hears of the others of a lost data plane`, async () => {
    using one = await linked(end);
    for (const id of ["a", "b", "c"]) await one.plugin.call("route", connection({ id }));
    one.plugin.notify("closed", { connection: "a", bytesIn: 1, bytesOut: 2, ms: 3, result: "ok" });
    await until(() => one.told.length === 1, { what: "the first end" });
    one.link.lost();
    const ends = one.told.map(({ connection, result }) => `${connection} ${result}`);
    assert.deepEqual(ends, ["a ok", "b plane_lost", "c plane_lost"]);
    await until(() => one.events.length > 0, { what: "the log" });
    const lines = one.events.map(({ event, fields }) => [event, fields["hook"], fields["reason"]]);
    assert.deepEqual(lines, [["plugin_fault", "closed", "cannot count"]], "a line a minute");
  });
}
