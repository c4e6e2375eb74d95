import { definePlugin, type Plugin, type PluginDefinition, z } from "../../../core/plugin/mod.ts";

/** What has happened to the instances, in order: `start 1`, `dispose 1`, … */
export const lives: string[] = [];

type Config = {
  readonly id: number;
  readonly start?: string | undefined;
  readonly status?: string | undefined;
  readonly dispose?: string | undefined;
  readonly tunnels?: string | undefined;
};

/** Has no `reload`: each config gets an instance of its own. */
const definition: PluginDefinition<Config> = definePlugin<Config>({
  config: z.strictObject({
    id: z.number(),
    start: z.string().optional(),
    status: z.string().optional(),
    dispose: z.string().optional(),
    tunnels: z.string().optional(),
  }),
  async start({ id, start, status, dispose, tunnels }) {
    if (start === "throws") throw new Error(`no ${id}`);
    if (start === "late") await new Promise((resolve) => setTimeout(resolve, 50));
    lives.push(`start ${id}`);
    return {
      route: () => ({ kind: "reject", reason: "forbidden", detail: String(id) }),
      status() {
        if (status === "throws") throw new Error("no idea");
        if (status === "is code") return { ready: true, details: { more: () => {} } };
        return status === "hangs" ? new Promise(() => {}) : { ready: true };
      },
      ...(tunnels !== undefined && withTunnels(id, tunnels)),
      [Symbol.asyncDispose]() {
        lives.push(`dispose ${id}`);
        return dispose === "rejects" ? Promise.reject(new Error(`${id} will not go`)) : Promise.resolve();
      },
    };
  },
});

/** One tunnel, with the plugin's id; or nothing but errors. */
function withTunnels(id: number, how: string): Pick<Plugin, "tunnels" | "closeTunnel" | "drain"> {
  const told = <T>(value: T): T => {
    if (how === "throws") throw new Error("no idea");
    return value;
  };
  const row = {
    id: String(id),
    owner: "somebody",
    source: { address: "192.0.2.1", port: 1 },
    since: 0,
    streams: 0,
    bytesIn: 0,
    bytesOut: 0,
    services: [],
  };
  return {
    tunnels: () => told([row]),
    closeTunnel: (asked) => told(asked === row.id),
    drain: () => told(void lives.push(`drain ${id}`)),
  };
}

export default definition;
