import { definePlugin, type PluginDefinition, z } from "../../../core/plugin/mod.ts";

type Config = {
  readonly name: string;
  readonly ca: string;
  readonly asks: "require" | "request" | "nobody";
  readonly on: "works" | "hangs";
};

/** Lets in who has a client certificate, and says so; what it really does is in its config. */
const definition: PluginDefinition<Config> = definePlugin<Config>({
  config: z.strictObject({
    name: z.string(),
    ca: z.string(),
    asks: z.enum(["require", "request", "nobody"]).default("require"),
    on: z.enum(["works", "hangs"]).default("works"),
  }),
  names: ({ name }) => [name],
  files: ({ ca }) => [ca],
  mutualTls: ({ name }) => [name],
  routeTimeoutMs: () => 1000,
  start(config, { files }) {
    let [current, ca] = [config, files[config.ca] ?? ""];
    return {
      route({ terminated }) {
        if (current.on === "hangs") return new Promise(() => {});
        if (terminated) return { kind: "reject", reason: "forbidden" };
        const { asks } = current;
        return asks === "nobody"
          ? { kind: "terminate" }
          : { kind: "terminate", clientCertificate: { mode: asks, ca } };
      },
      reload(next, files) {
        current = next as Config;
        ca = files[current.ca] ?? "";
      },
    };
  },
});

export default definition;
