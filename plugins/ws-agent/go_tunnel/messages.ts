import { ControlFault } from "../control/fault.ts";

/** One host that an agent wants to be public. */
export interface GoTunnelRoute {
  /** As the agent writes it: it knows its streams by this. */
  readonly host: string;
  /** For people to look at: what the agent dials. */
  readonly target: string;
  readonly mode: "http" | "tcp";
}

/** What an agent says. */
export type FromGoTunnel =
  | { readonly type: "register"; readonly token: string; readonly routes: readonly GoTunnelRoute[] }
  | { readonly type: "ping" }
  | { readonly type: "pong" };

/** What it is told. Times are milliseconds since 1970. */
export type ToGoTunnel =
  | { readonly type: "ack"; readonly ok: true }
  | { readonly type: "ack"; readonly ok: false; readonly error: string }
  | { readonly type: "ping" | "pong"; readonly ts: number };

const decoder = new TextDecoder("utf-8", { fatal: true });
const encoder = new TextEncoder();

/**
 * Reads one line of JSON. Keys that are not known are passed over.
 *
 * @throws {ControlFault} `malformed`, `unknown_type`. Its text quotes nothing of the line: it may hold a token.
 */
export function parseGoTunnelLine(line: Uint8Array): FromGoTunnel {
  const message = objectOf(parseJson(line), "A message");
  switch (message["type"]) {
    case "register":
      return { type: "register", token: textOf(message["token"], "token"), routes: routesOf(message) };
    case "ping":
      return { type: "ping" };
    case "pong":
      return { type: "pong" };
    default:
      throw new ControlFault("unknown_type", "A message of a type that is not known");
  }
}

/** Writes one line, its end included. */
export function encodeGoTunnelLine(message: ToGoTunnel): Uint8Array {
  return encoder.encode(JSON.stringify(message) + "\n");
}

/** A mode that is not `tcp` is http, as go-tunnel has it: so is one that is missing. */
function routesOf({ routes, modes = {} }: Record<string, unknown>): GoTunnelRoute[] {
  const byHost = objectOf(modes ?? {}, "modes");
  return Object.entries(objectOf(routes ?? {}, "routes")).map(([host, target]) => {
    const mode = Object.hasOwn(byHost, host) ? textOf(byHost[host], "modes") : "http";
    return {
      host,
      target: textOf(target, "routes"),
      mode: mode.toLowerCase() === "tcp" ? "tcp" : "http",
    };
  });
}

function parseJson(line: Uint8Array): unknown {
  try {
    return JSON.parse(decoder.decode(line));
  } catch {
    throw new ControlFault("malformed", "A line that holds no JSON");
  }
}

function objectOf(value: unknown, what: string): Record<string, unknown> {
  if (typeof value === "object" && value !== null && !Array.isArray(value)) {
    return value as Record<string, unknown>;
  }
  throw new ControlFault("malformed", `${what} has to be an object`);
}

function textOf(value: unknown, key: string): string {
  if (typeof value === "string") return value;
  throw new ControlFault("malformed", `A wrong ${key}`);
}
