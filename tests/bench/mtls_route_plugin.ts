/** Terminates TLS with a client certificate required and decides at once: what is measured is the data plane. */
import { type Decision, definePlugin, hostPort, z } from "../../core/plugin/mod.ts";

export default definePlugin({
  config: z.strictObject({ ca: z.string(), routes: z.record(z.string(), hostPort()) }),
  names: ({ routes }) => Object.keys(routes),
  start({ ca, routes }) {
    const terminate: Decision = { kind: "terminate", clientCertificate: { mode: "require", ca } };
    return {
      route({ tls, terminated }) {
        const to = routes[tls?.serverName ?? ""];
        if (to === undefined) return undefined;
        if (terminated === undefined) return terminate;
        if (terminated.clientCertificates === undefined) return { kind: "reject", reason: "forbidden" };
        return { kind: "forward", to };
      },
    };
  },
});
