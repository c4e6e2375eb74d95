import { definePlugin, type PluginDefinition, z } from "../../../core/plugin/mod.ts";

/** What has happened to the instances, in order: `start 1`, `dispose 1`, … */
export const lives: string[] = [];

type Config = {
  readonly id: number;
  readonly start?: string | undefined;
  readonly status?: string | undefined;
  readonly dispose?: string | undefined;
};

/** Has no `reload`: each config gets an instance of its own. */
const definition: PluginDefinition<Config> = definePlugin<Config>({
  config: z.strictObject({
    id: z.number(),
    start: z.string().optional(),
    status: z.string().optional(),
    dispose: z.string().optional(),
  }),
  async start({ id, start, status, dispose }) {
    if (start === "throws") throw new Error(`no ${id}`);
    if (start === "late") await new Promise((resolve) => setTimeout(resolve, 50));
    lives.push(`start ${id}`);
    return {
      route: () => ({ kind: "reject", reason: "forbidden", detail: String(id) }),
      status() {
        if (status === "throws") throw new Error("no idea");
        return status === "hangs" ? new Promise(() => {}) : { ready: true };
      },
      [Symbol.asyncDispose]() {
        lives.push(`dispose ${id}`);
        return dispose === "rejects" ? Promise.reject(new Error(`${id} will not go`)) : Promise.resolve();
      },
    };
  },
});

export default definition;
