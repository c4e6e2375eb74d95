import type { CertificateRow, GatewayStatus, GatewayTunnel, PluginRow } from "../core/data_plane/snapshot.ts";
import { formatHostPort } from "../core/net/address.ts";

/**
 * A gateway's status as a page for a terminal.
 *
 * @param now Milliseconds since 1970.
 */
export function renderStatus(status: GatewayStatus, now: number = Date.now()): string {
  const { connections, bytes } = status;
  const refused = Object.entries(status.rejected).filter(([, count]) => count > 0).sort(([, a], [, b]) =>
    b - a
  );
  const sections = [
    [
      `Postern ${plain(status.version)}, up ${formatDuration(now - status.startedAt)}` +
      `, ${count(status.threads, "thread")}, ${formatBytes(status.memory)}${
        status.draining ? ", draining" : ""
      }`,
      `Connections ${connections.active} open, ${connections.total} in all; ` +
      `${formatBytes(bytes.in)} in, ${formatBytes(bytes.out)} out`,
    ],
    status.reloadError === undefined ? [] : [`The last reload was refused: ${plain(status.reloadError)}`],
    table(["LISTENER", "KIND"], status.listeners.map(({ address, kind }) => [address, kind])),
    table(["PLUGIN", "RUNS", "STATE", "READY", "RESTARTS", ""], status.plugins.map(pluginCells)),
    ...status.plugins.flatMap(detailTables),
    tunnelTable(status.tunnels, now),
    certificateTable(status.certificates ?? [], now),
    refused.length === 0 ? [] : table(["REFUSED", "COUNT"], refused.map(([reason, n]) => [reason, `${n}`])),
  ];
  return sections.filter((lines) => lines.length > 0).map((lines) => lines.join("\n") + "\n").join("\n");
}

function pluginCells({ name, isolation, state, restarts, status }: PluginRow): string[] {
  return [
    name,
    isolation,
    state,
    status.ready ? "yes" : "no",
    `${restarts}`,
    status.reason ?? "",
  ];
}

/** A list of plain records, as a plugin tells them: its processes, its certificates. */
type Records = readonly Readonly<Record<string, unknown>>[];

/** More than this is for `--json`. */
const MAX_DETAIL_ROWS = 40;

/** Every list of records that a plugin tells of itself, each as a table. */
function detailTables({ name, status: { details = {} } }: PluginRow): string[][] {
  return Object.entries(details).flatMap(([key, value]) => {
    if (!isRecords(value) || value.length === 0) return [];
    const columns = [...new Set(value.flatMap(Object.keys))];
    const shown = value.slice(0, MAX_DETAIL_ROWS);
    const rows = shown.map((record) => columns.map((column) => detailCell(column, record[column])));
    const rest = value.length - shown.length;
    return [[
      `${plain(name)}: ${headOf(key).toLowerCase()}`,
      ...table(columns.map(headOf), rows),
      ...(rest > 0 ? [`and ${rest} more`] : []),
    ]];
  });
}

function isRecords(value: unknown): value is Records {
  return Array.isArray(value) && value.every((one) => typeof one === "object" && one !== null);
}

/** `serverName` becomes `SERVER NAME`, and `ageSeconds`, which is shown as a duration, `AGE`. */
function headOf(key: string): string {
  return key.replace(/Seconds$/, "").replaceAll(/(?<=[a-z\d])(?=[A-Z])/g, " ").toUpperCase();
}

function detailCell(column: string, value: unknown): string {
  if (value === undefined || value === null) return "";
  if (typeof value === "number" && column.endsWith("Seconds")) return formatDuration(value * 1000);
  return typeof value === "object" ? JSON.stringify(value) : String(value);
}

/** A line for each service, beside its tunnel; one without services has a line too. */
function tunnelTable({ active, oldest }: GatewayStatus["tunnels"], now: number): string[] {
  if (active === 0) return [];
  const head = ["TUNNEL", "OWNER", "FROM", "UP", "RTT", "STREAMS", "IN", "OUT", "SERVICE", "TARGET"];
  const shown = oldest.slice(0, MAX_DETAIL_ROWS);
  const lines = table(head, shown.flatMap((tunnel) => tunnelCells(tunnel, now)));
  return active > shown.length ? [...lines, `and ${active - shown.length} more`] : lines;
}

function tunnelCells(tunnel: GatewayTunnel, now: number): string[][] {
  const { source, roundTripMs, agent = "postern" } = tunnel;
  const own = [
    tunnel.id,
    agent === "postern" ? tunnel.owner : `${tunnel.owner} (${agent})`,
    formatHostPort({ host: source.address, port: source.port }),
    formatDuration(now - tunnel.since),
    roundTripMs === undefined ? "" : `${roundTripMs.toFixed(roundTripMs < 10 ? 1 : 0)} ms`,
    `${tunnel.streams}`,
    formatBytes(tunnel.bytesIn),
    formatBytes(tunnel.bytesOut),
  ];
  const [first, ...others] = tunnel.services.slice(0, MAX_DETAIL_ROWS);
  const blank = own.map(() => "");
  const rest = tunnel.services.length - MAX_DETAIL_ROWS;
  return [
    [...own, first?.url ?? "", first?.target ?? ""],
    ...others.map(({ url, target = "" }) => [...blank, url, target]),
    ...(rest > 0 ? [[...blank, `and ${rest} more`, ""]] : []),
  ];
}

function certificateTable(certificates: readonly CertificateRow[], now: number): string[] {
  if (certificates.length === 0) return [];
  const until = (time: string | undefined) => time ? formatDuration(Date.parse(time) - now) : "";
  const shown = certificates.slice(0, MAX_DETAIL_ROWS);
  const rows = shown.map(({ names, source, state, notAfter, nextAttempt, error = "" }) => [
    `${names.slice(0, MAX_NAMES).join(" ")}${
      names.length > MAX_NAMES ? ` and ${names.length - MAX_NAMES} more` : ""
    }`,
    source,
    state,
    until(notAfter),
    until(nextAttempt),
    error,
  ]);
  const lines = table(["CERTIFICATE", "SOURCE", "STATE", "EXPIRES IN", "NEXT ATTEMPT IN", ""], rows);
  return certificates.length > shown.length
    ? [...lines, `and ${certificates.length - shown.length} more`]
    : lines;
}

/** Of one certificate. */
const MAX_NAMES = 3;

/** Columns as wide as their longest cell, two spaces apart. */
export function table(head: readonly string[], rows: readonly (readonly string[])[]): string[] {
  const cells = [head, ...rows].map((row) => row.map(plain));
  const widths = head.map((_, i) => Math.max(...cells.map((row) => row[i]?.length ?? 0)));
  return cells.map((row) => row.map((cell, i) => cell.padEnd(widths[i] ?? 0)).join("  ").trimEnd());
}

/** One line without anything that a terminal would obey: parts of it were named by strangers. */
export function plain(text: string): string {
  return text.replaceAll(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]+/gu, "\ufffd");
}

function count(n: number, noun: string): string {
  return `${n} ${noun}${n === 1 ? "" : "s"}`;
}

/** The two largest units: `3d 4h`, `5m 6s`, `7s`. */
export function formatDuration(ms: number): string {
  const seconds = Math.max(0, Math.floor(ms / 1000));
  const parts: [number, string][] = [
    [Math.floor(seconds / 86_400), "d"],
    [Math.floor(seconds / 3_600) % 24, "h"],
    [Math.floor(seconds / 60) % 60, "m"],
    [seconds % 60, "s"],
  ];
  const first = parts.findIndex(([n], i) => n > 0 || i === parts.length - 1);
  return parts.slice(first, first + 2).map(([n, unit]) => `${n}${unit}`).join(" ");
}

/** As the config writes sizes: `512 B`, `1.5 KiB`, `20 MiB`. */
export function formatBytes(bytes: number): string {
  const units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
  let value = bytes;
  let unit = 0;
  while (Math.round(value * 10) / 10 >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit++;
  }
  const shown = unit === 0 || value >= 100 ? value.toFixed(0) : value.toFixed(1).replace(/\.0$/, "");
  return `${shown} ${units[unit]}`;
}
