import type { WorkerPermissions } from "../core/config/permissions.ts";
import { PLANE_PERMISSIONS, type Supervisor } from "../core/supervisor/supervisor.ts";

/** What a gateway that has just started prints: where it listens, and which plugins run with which permissions. */
export function describeGateway(
  supervisor: Supervisor,
  config: string,
  hints: readonly string[] = [],
): string {
  const lines = [
    `Postern runs with ${config}`,
    ...supervisor.listeners.map(({ address, kind }) =>
      `  ${kind === "http" ? "http " : "listen"} ${address}`
    ),
    `  admin  http://${supervisor.adminAddress}`,
    ...supervisor.plugins.map(({ name, isolation, permissions }) => {
      const granted = isolation === "inline" ? PLANE_PERMISSIONS : permissions;
      return `  plugin ${name} (${isolation}; ${describePermissions(granted)})`;
    }),
    ...(supervisor.acmePermissions
      ? [`  acme   (worker; ${describePermissions(supervisor.acmePermissions)})`]
      : []),
    ...hints.map((hint) => `  ${hint}`),
  ];
  return lines.join("\n") + "\n";
}

/** `net: 10.0.0.5:5432; run: cloudflared`, or that there are none. */
export function describePermissions(permissions: WorkerPermissions): string {
  const granted = Object.entries(permissions).filter(([, entries]) => entries !== false);
  if (granted.length === 0) return "no permissions";
  return granted.map(([kind, entries]) =>
    entries === true ? kind : `${kind}: ${(entries as string[]).join(" ")}`
  ).join("; ");
}
