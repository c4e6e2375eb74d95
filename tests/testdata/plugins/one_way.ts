import { definePlugin, type PluginDefinition, z } from "../../../core/plugin/mod.ts";

type Config = { readonly step: number; readonly last: number };

/** Refuses everybody with its step for the reason, and takes configs of a higher step, up to the last, but none of a lower. */
const definition: PluginDefinition<Config> = definePlugin<Config>({
  config: z.strictObject({ step: z.number(), last: z.number().default(9) }),
  start(config) {
    let { step } = config;
    return {
      route: () => ({ kind: "reject", reason: "forbidden", detail: `step ${step}` }),
      reload(next) {
        const wanted = next as Config;
        if (wanted.step < step || wanted.step > wanted.last) throw new Error(`not to step ${wanted.step}`);
        step = wanted.step;
      },
    };
  },
});

export default definition;
