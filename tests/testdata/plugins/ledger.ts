import { definePlugin, type PluginDefinition, z } from "../../../core/plugin/mod.ts";

type Config = { readonly to: string; readonly files: readonly string[]; readonly onHttp: "end" | "crash" };

/** What the plugin's status has in `details`. */
export interface Ledger {
  /** `open ID`, `adopt ID`, `closed ID RESULT`, in order. */
  readonly entries: readonly string[];
  readonly files: Readonly<Record<string, string>>;
}

/**
 * Sends SSH to one place and keeps a ledger of it. When HTTP comes, it ends all that is open, somebody else's
 * connection too if it could, or crashes.
 */
const definition: PluginDefinition<Config> = definePlugin<Config>({
  config: z.strictObject({
    to: z.string(),
    files: z.array(z.string()).default([]),
    onHttp: z.enum(["end", "crash"]).default("end"),
  }),
  files: ({ files }) => files,
  start({ to, onHttp }, context) {
    let { files } = context;
    const entries: string[] = [];
    const seen = new Set<string>();
    return {
      route({ id, protocol }) {
        if (protocol === "ssh") {
          seen.add(id);
          entries.push(`open ${id}`);
          return { kind: "forward", to };
        }
        if (protocol !== "http") {
          seen.add(id); // another plugin's
          return undefined;
        }
        if (onHttp === "crash") setTimeout(() => Promise.reject(new Error("crashed")));
        else for (const one of seen) context.endConnection(one, "access_revoked");
        return { kind: "reject", reason: "forbidden" };
      },
      adopt: (connections) => entries.push(...connections.map(({ id }) => `adopt ${id}`)),
      closed: ({ connection, result }) => void entries.push(`closed ${connection} ${result}`),
      reload: (_, next) => void (files = next),
      status: () => ({ ready: true, details: { entries, files } }),
    };
  },
});

export default definition;
