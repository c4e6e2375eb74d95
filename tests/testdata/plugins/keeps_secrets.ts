import { definePlugin, hostPort, type PluginDefinition, z } from "../../../core/plugin/mod.ts";

type Config = {
  readonly to: string;
  readonly password: string;
  readonly serviceToken: { readonly id: string; readonly secret: string };
  readonly extra: number;
};

/** Has secrets in its config and says nothing of them; crashes when something strange comes. */
const definition: PluginDefinition<Config> = definePlugin<Config>({
  config: z.strictObject({
    to: hostPort(),
    password: z.string(),
    serviceToken: z.strictObject({ id: z.string(), secret: z.string() }),
    extra: z.number().default(0),
  }),
  start: ({ to }, { log }) => {
    log.debug("started", { to });
    return {
      route({ protocol }) {
        if (protocol === "ssh") return { kind: "forward", to };
        if (protocol === "http") return { kind: "reject", reason: "forbidden", detail: "no web here" };
        setTimeout(() => {
          throw new Error("something strange came");
        });
        return { kind: "reject", reason: "unavailable" };
      },
      reload(next) {
        if ((next as Config).extra === 2) throw new Error("two is too many");
      },
    };
  },
});

export default definition;
