import { type PluginFiles, z } from "../../../core/plugin/mod.ts";
import { type GatewayAddress, parseGateway } from "../agent/gateway_address.ts";
import { parseTarget, type Target } from "../agent/target.ts";
import { isServiceName } from "../names.ts";
import { parsed } from "../parsed.ts";
import type { NodeTunnel } from "./node_tunnel.ts";

/** An entry of `nodeTunnels`, checked. Plain data. */
export interface NodeTunnelConfig extends Omit<NodeTunnel, "ca"> {
  /** The path of the CAs as written; absent: those of the runtime. */
  readonly caFile?: string | undefined;
}

/** Far more than one process should carry; each is a connection that is kept up. */
const MAX_TUNNELS = 256;

const port = z.int().min(0).max(65_535);

const local: z.ZodType<Target, unknown> = parsed(
  z.union([z.int(), z.string()]),
  (value) => parseTarget(value),
);
const to: z.ZodType<GatewayAddress, unknown> = parsed(z.string(), parseGateway);

const ports = z.union([
  z.int().min(1).max(65_535).transform((both) => ({ local: parseTarget(both), remote: both })),
  z.strictObject({ local, remote: port.default(0) }),
]);

const tunnel = z.strictObject({
  name: z.string().refine(isServiceName, {
    error: "A node tunnel's name has 1 to 63 letters, digits, dots, hyphens and underscores",
  }),
  to,
  ports,
  token: z.string().min(1),
  ca: z.string().min(1).optional(),
}).superRefine(({ to: { secure, host } }, context) => {
  const isHere = host === "localhost" || host.endsWith(".localhost") || /^127\./.test(host) || host === "::1";
  if (secure || isHere) return;
  const message = 'Expected "wss://": without TLS, whoever is on the way reads the token';
  context.addIssue({ code: "custom", path: ["to"], message });
}).transform(({ ca, ...rest }): NodeTunnelConfig => ({ ...rest, ...(ca !== undefined && { caFile: ca }) }));

/** Checks `nodeTunnels`. */
export const nodeTunnelsConfig: z.ZodType<readonly NodeTunnelConfig[]> = z.array(tunnel).max(MAX_TUNNELS)
  .superRefine((tunnels, context) => {
    for (const [i, { name }] of tunnels.entries()) {
      if (tunnels.findIndex((other) => other.name === name) === i) continue;
      context.addIssue({
        code: "custom",
        path: [i, "name"],
        message: `Another one is called "${name}", too`,
      });
    }
  });

/** With the CAs that stand in their files. */
export function nodeTunnelsOf(tunnels: readonly NodeTunnelConfig[], files: PluginFiles): NodeTunnel[] {
  return tunnels.map(({ caFile, ...rest }) => ({
    ...rest,
    ...(caFile !== undefined && { ca: files[caFile] }),
  }));
}
