import type { ListenerConfig } from "../../core/config/config.ts";
import { canonicalNameFromConfig } from "../../core/names.ts";
import type { ConnectionInfo, Protocol } from "../../core/plugin/contract.ts";
import type { CheckedPlugin } from "../../core/supervisor/plugins.ts";
import { CommandError } from "../command_error.ts";
import { EXIT } from "../exit_codes.ts";

/** What a client may be said to speak. */
export type AskedProtocol = Exclude<Protocol, "other">;

/** What is asked on the command line. */
export interface Question {
  /** Canonical; absent: a client that asks for no name. */
  readonly serverName?: string;
  /** Where it connects to; absent: the first listener. */
  readonly port?: number;
  readonly protocol: AskedProtocol;
}

/**
 * Reads `HOST`, `HOST:PORT` or `:PORT`.
 *
 * @param port From `--port`.
 * @throws {CommandError} It is none of them, or has another port than `--port`.
 */
export function parseQuestion(host: string, port: number | undefined, protocol: AskedProtocol): Question {
  const [, name = "", written] = /^([^:]*)(?::(\d{1,5}))?$/.exec(host) ?? [, host];
  const serverName = name === "" ? undefined : canonicalNameFromConfig(name);
  const isNothing = name === "" && written === undefined;
  if (isNothing || (name !== "" && serverName === undefined)) throw wrong(noName(host));
  const at = written === undefined ? port : Number(written);
  if (port !== undefined && at !== port) throw wrong(`Port ${at} and --port ${port} are two`);
  if (at !== undefined && (at < 1 || at > 65_535)) throw wrong(`${at} is no port`);
  return { protocol, ...(serverName !== undefined && { serverName }), ...(at !== undefined && { port: at }) };
}

function noName(host: string): string {
  const isPrivate = /^[^/:]+\/[^/:]+$/.test(host);
  return `"${host}" is not a DNS name` +
    (isPrivate ? `; a private service has no public name: postern access ${host}` : "");
}

/** Which listener takes the connection, or which plugin would have opened the port. */
export type Place =
  | { readonly kind: "listener"; readonly listener: ListenerConfig }
  | { readonly kind: "plugin"; readonly plugin: CheckedPlugin; readonly port: number };

/** @throws {CommandError} Nothing listens there. */
export function findPlace(
  { port }: Question,
  listeners: readonly ListenerConfig[],
  plugins: readonly CheckedPlugin[],
): Place {
  const listener = listeners.find((one) => port === undefined || port === one.port);
  if (listener) return { kind: "listener", listener };
  const plugin = plugins.find(({ traits: { ports } }) =>
    port !== undefined && ports !== undefined && ports.first <= port && port <= ports.last
  );
  if (plugin && port !== undefined) return { kind: "plugin", plugin, port };
  throw wrong(`Nothing listens on port ${port}`);
}

/** The connection as plugins are shown it. */
export function describeConnection({ serverName, protocol }: Question, place: Place): ConnectionInfo {
  const client = { address: "127.0.0.1", port: 0 };
  const common = { id: "explain", source: client, peer: client };
  if (place.kind === "plugin") {
    const destination = { address: "127.0.0.1", port: place.port };
    return { ...common, listener: place.plugin.name, destination, protocol: "other" };
  }
  const { address, kind, port } = place.listener;
  const encrypted = protocol === "tls" || protocol === "postgres";
  const hello = { ...(serverName !== undefined && { serverName }), alpn: [], versions: [0x0304, 0x0303] };
  return {
    ...common,
    listener: address,
    ...(kind === "http" && { listenerKind: "http" }),
    destination: { address: "127.0.0.1", port },
    protocol,
    ...(encrypted && { tls: hello }),
  };
}

function wrong(message: string): CommandError {
  return new CommandError(message, EXIT.wrongUsage);
}
