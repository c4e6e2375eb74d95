import { printable } from "../plugins/ws-agent/auth/printable.ts";
import type { RequestSeen } from "../plugins/ws-agent/agent/events.ts";
import type { TunnelState } from "./tunnel_state.ts";

/** The terminal that a view is for. */
export interface Screen {
  readonly columns: number;
  readonly rows: number;
  readonly color: boolean;
}

const LABEL_WIDTH = 13;
const METHOD_WIDTH = 8;
const MAX_METHOD = 16;
const MAX_SHOWN = 300;

const COLORS: Readonly<Record<TunnelState["state"], number>> = {
  connecting: 33,
  online: 32,
  reconnecting: 33,
  refused: 31,
  stopping: 33,
};

/**
 * What a tunnel looks like now, line by line: never more lines than there are rows, and nothing in them that acts on the terminal but
 * colours.
 */
export function renderTunnel(state: TunnelState, { columns, rows, color }: Screen): string[] {
  const paint = (text: string, code: number) => color ? `\x1b[${code}m${text}\x1b[0m` : text;
  const row = (label: string, value: string, code?: number) => {
    const shown = cut(safe(value), columns - LABEL_WIDTH);
    return cut(label.padEnd(LABEL_WIDTH), columns) + (code === undefined ? shown : paint(shown, code));
  };
  const { status } = state;
  const head = [
    cut("Postern" + " ".repeat(Math.max(1, columns - 7 - STOP.length)) + STOP, columns),
    "",
    row("State", state.detail === "" ? state.state : `${state.state}: ${state.detail}`, COLORS[state.state]),
    ...wrapped(safe(state.url ?? "-"), columns - LABEL_WIDTH).map((part, i) =>
      row(i === 0 ? "Address" : "", part, 1)
    ),
    row("Leads to", state.target),
    ...state.inspector === undefined ? [] : [row("Inspector", state.inspector)],
    row(
      "Gateway",
      status ? `${state.gateway} (${status.connected} of ${status.connections} connections)` : state.gateway,
    ),
    row("Round trip", status?.roundTripMs === undefined ? "-" : formatMs(status.roundTripMs)),
    row("Connections", status ? `${status.streams} open, ${status.streamsTotal} in all` : "-"),
    ...state.notices.map(({ time, text }) => row(formatTime(time), text, 33)),
  ];
  if (state.service.protocol !== "http") return head.slice(0, rows);
  const table = ["", row("Requests", `${state.requestsTotal}`)];
  const room = Math.max(0, rows - head.length - table.length);
  const lines = state.requests.slice(-room || Infinity).map((request) =>
    renderRequest(request, columns, paint)
  );
  return [...head, ...table, ...room === 0 ? [] : lines].slice(0, rows);
}

const STOP = "Ctrl-C ends it";

/** One request on a line of its own: time, method, path, status, milliseconds. */
export function requestLine({ time, method, path, status, ms }: RequestSeen): string {
  return `${formatTime(time)} ${printable(method, MAX_METHOD)} ${printable(path, MAX_SHOWN)} ${status} ${
    formatMs(ms)
  }`;
}

/** What came from elsewhere, fit for a terminal. */
export function safe(text: string): string {
  return printable(text, MAX_SHOWN);
}

function renderRequest(
  { time, method, path, status, ms }: RequestSeen,
  columns: number,
  paint: (text: string, code: number) => string,
): string {
  const left = `${formatTime(time)}  ${printable(method, MAX_METHOD).padEnd(METHOD_WIDTH - 1)} `;
  const right = `  ${formatMs(ms).padStart(8)}`;
  const width = columns - left.length - right.length - 5;
  if (width < 1) return cut(`${left} ${status}`, columns);
  const middle = cut(printable(path, MAX_SHOWN), width).padEnd(width);
  return `${left}${middle}  ${paint(String(status).padStart(3), statusColor(status))}${right}`;
}

function statusColor(status: number): number {
  if (status >= 500) return 31;
  return status >= 400 ? 33 : 32;
}

/** A text on as many lines as it needs: it is there to be copied. */
function wrapped(text: string, width: number): string[] {
  if (width < 1 || text === "") return [text];
  return Array.from(
    { length: Math.ceil(text.length / width) },
    (_, i) => text.slice(i * width, (i + 1) * width),
  );
}

function cut(text: string, width: number): string {
  if (text.length <= width) return text;
  return width < 1 ? "" : `${text.slice(0, width - 1)}…`;
}

/** The time of day here. */
function formatTime(time: number): string {
  const date = new Date(time);
  return [date.getHours(), date.getMinutes(), date.getSeconds()].map((part) => String(part).padStart(2, "0"))
    .join(":");
}

function formatMs(ms: number): string {
  return ms < 10 ? `${ms.toFixed(1)} ms` : `${Math.round(ms)} ms`;
}
