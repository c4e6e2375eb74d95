import type { RunningAccess } from "./access_socket.ts";
import { formatBytes, table } from "./render_status.ts";
import { safe } from "./render_tunnel.ts";

type Counts = Pick<RunningAccess, "connections" | "bytesIn" | "bytesOut">;

/** Accesses as a table. */
export function renderAccesses(all: readonly RunningAccess[]): string {
  const rows = all.map((one) => [
    one.id,
    safe(one.service),
    safe(one.local),
    remaining(one.remainingMs),
    safe(one.state),
    String(one.connections),
    String(one.open),
    formatBytes(one.bytesIn),
    formatBytes(one.bytesOut),
  ]);
  const heads = ["ID", "SERVICE", "LOCAL", "REMAINING", "STATE", "CONNECTIONS", "OPEN", "IN", "OUT"];
  return table(heads, rows).join("\n") + "\n";
}

/** What a terminal is shown while an access lasts; no line end. */
export function accessLine(
  info: Counts & Pick<RunningAccess, "remainingMs"> & { readonly state: string },
): string {
  return `${info.state}, ${remaining(info.remainingMs)} left; ${countsOf(info)}`;
}

export function countsOf({ connections, bytesIn, bytesOut }: Counts): string {
  return `${connections} connection${connections === 1 ? "" : "s"}, ${formatBytes(bytesIn)} in, ${
    formatBytes(bytesOut)
  } out`;
}

/** Hours, minutes and seconds: `1:00:00`, `4:05`. */
export function remaining(ms: number): string {
  const seconds = Math.ceil(ms / 1000);
  const two = (value: number) => String(value).padStart(2, "0");
  const hours = Math.floor(seconds / 3600), minutes = Math.floor(seconds / 60) % 60;
  return hours > 0 ? `${hours}:${two(minutes)}:${two(seconds % 60)}` : `${minutes}:${two(seconds % 60)}`;
}
