/** A plugin that decides at once, so that what is measured is the way to it and back. */
import { definePlugin, hostPort, z } from "../../core/plugin/mod.ts";

export default definePlugin({
  config: z.strictObject({ name: z.string(), to: hostPort() }),
  names: ({ name }) => [name],
  start({ name, to }) {
    return {
      route: ({ tls }) => tls?.serverName === name ? { kind: "forward", to } : undefined,
    };
  },
});
