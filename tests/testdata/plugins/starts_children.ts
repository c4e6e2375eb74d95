import { childEnvironment, definePlugin, type PluginDefinition, z } from "../../../core/plugin/mod.ts";

type Config = {
  readonly command: string;
  readonly args: readonly string[];
  readonly disposes: boolean;
};

/** Runs one program from its start to its end. Whoever speaks HTTP to it makes it crash. */
const definition: PluginDefinition<Config> = definePlugin<Config>({
  config: z.strictObject({
    command: z.string(),
    args: z.array(z.string()).default(["300"]),
    disposes: z.boolean().default(true),
  }),
  start({ command, args, disposes }, { log }) {
    const child = new Deno.Command(command, {
      args: [...args],
      clearEnv: true,
      env: childEnvironment(),
      stdin: "null",
      stdout: "null",
      stderr: "null",
    }).spawn();
    log.info("child_started", { pid: child.pid });
    return {
      route({ protocol }) {
        if (protocol === "http") {
          setTimeout(() => {
            throw new Error("thrown in a timer");
          });
        }
        return { kind: "reject", reason: "unavailable" };
      },
      async [Symbol.asyncDispose]() {
        if (!disposes) return;
        try {
          child.kill();
        } catch {
          // It has ended already.
        }
        await child.status;
      },
    };
  },
});

export default definition;
