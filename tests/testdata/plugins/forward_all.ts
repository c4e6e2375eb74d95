import { definePlugin, type PluginDefinition, z } from "../../../core/plugin/mod.ts";

/** Sends everything to one place. */
const definition: PluginDefinition<{ to: string }> = definePlugin({
  config: z.strictObject({ to: z.string() }),
  start: ({ to }) => ({ route: () => ({ kind: "forward", to }) }),
});

export default definition;
