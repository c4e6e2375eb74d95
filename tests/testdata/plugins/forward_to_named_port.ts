import { definePlugin, type PluginDefinition, z } from "../../../core/plugin/mod.ts";

/** Passes TLS for `p8443.example.com` on to port 8443 of `host`, but never to the admin side. */
const definition: PluginDefinition<{ host: string }> = definePlugin({
  config: z.strictObject({ host: z.string() }),
  start: ({ host }) => ({
    route({ tls }) {
      const port = tls?.serverName?.match(/^p(\d+)\./)?.[1];
      return port === undefined ? undefined : { kind: "forward", to: `${host}:${port}`, keepOffAdmin: true };
    },
  }),
});

export default definition;
