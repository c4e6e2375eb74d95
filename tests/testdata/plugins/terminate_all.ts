import { definePlugin, type PluginDefinition, z } from "../../../core/plugin/mod.ts";

const config = z.strictObject({
  to: z.string(),
  tls: z.strictObject({ ca: z.string().optional(), serverName: z.string().optional() }).optional(),
});

/** Terminates the TLS of everybody who has some, and sends everybody to one place. */
const definition: PluginDefinition<z.infer<typeof config>> = definePlugin({
  config,
  start: (forward) => ({
    route({ tls }) {
      const then = JSON.parse(JSON.stringify({ kind: "forward", ...forward }));
      return tls ? { kind: "terminate", then } : then;
    },
  }),
});

export default definition;
