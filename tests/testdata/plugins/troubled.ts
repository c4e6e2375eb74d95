import { definePlugin, type PluginDefinition, z } from "../../../core/plugin/mod.ts";

/** What can befall a plugin's code. */
const TROUBLES: Readonly<Record<string, () => void>> = {
  "throws in a timer": () =>
    void setTimeout(() => {
      throw new Error("thrown in a timer");
    }),
  "rejects unheard": () => void Promise.reject(new Error("rejected unheard")),
  "closes itself": () => self.close(),
  "exits": () => Deno.exit(7),
  /** Longer than anybody waits for it, and not for ever: nothing ends a worker that never comes to rest. */
  "is busy": () => {
    for (const end = performance.now() + 2000; performance.now() < end;);
  },
};

type Config = {
  readonly to: string;
  readonly trouble?: string | undefined;
  readonly start?: "works" | "throws" | "hangs" | "exits" | "is slow" | undefined;
  readonly reload?: "works" | "throws" | undefined;
};

/** Sends SSH to one place; whatever else comes brings the trouble that its config names. */
const definition: PluginDefinition<Config> = definePlugin<Config>({
  config: z.strictObject({
    to: z.string(),
    trouble: z.enum(Object.keys(TROUBLES)).optional(),
    start: z.enum(["works", "throws", "hangs", "exits", "is slow"]).optional(),
    reload: z.enum(["works", "throws"]).optional(),
  }),
  async start(config, { log }) {
    if (config.start === "throws") throw new Error("no luck today");
    if (config.start === "hangs") await new Promise(() => {});
    if (config.start === "exits") Deno.exit(3);
    if (config.start === "is slow") {
      log.info("starting_slowly");
      await new Promise((resolve) => setTimeout(resolve, 700));
    }
    let { to } = config;
    return {
      route({ protocol }) {
        if (protocol === "ssh") return { kind: "forward", to };
        TROUBLES[config.trouble ?? ""]?.();
        return { kind: "reject", reason: "unavailable" };
      },
      reload(next) {
        const { reload, to: other } = next as Config;
        if (reload === "throws") throw new Error("the new config is not to my taste");
        to = other;
      },
      async [Symbol.asyncDispose]() {
        log.info("disposed");
        await Promise.resolve();
      },
    };
  },
});

export default definition;
