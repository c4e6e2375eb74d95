import {
  definePlugin,
  type Plugin,
  type PluginContext,
  type PluginDefinition,
  z,
} from "../../../core/plugin/mod.ts";

/** Says that it has one tunnel in each data plane, whose id is the data plane's name. Takes no connection. */
const definition: PluginDefinition<Record<string, never>> = definePlugin<Record<string, never>>({
  config: z.strictObject({}),
  start: (_config, context) => withOneTunnel(context),
});

function withOneTunnel({ plane, log }: PluginContext): Plugin {
  const id = `tunnel-of-${plane?.node ?? "nobody"}`;
  let open = true;
  return {
    route: () => undefined,
    tunnels: () =>
      open
        ? [{
          id,
          owner: "laptops",
          source: { address: "192.0.2.1", port: 4711 },
          since: 1_700_000_000_000,
          streams: 1,
          bytesIn: 10,
          bytesOut: 20,
          services: [{ id: "1", name: "app", protocol: "http", url: "https://app.example.com" }],
        }]
        : [],
    closeTunnel(asked) {
      const had = open && asked === id;
      if (had) open = false;
      return had;
    },
    drain: () => log.info("told_to_drain", { tunnel: id }),
    metrics: () => [{
      name: "one_seconds",
      help: "One value of half a second.",
      type: "histogram",
      labels: {},
      buckets: [{ le: 0.1, count: 0 }, { le: 1, count: 1 }],
      sum: 0.5,
      count: 1,
    }],
  };
}

export default definition;
