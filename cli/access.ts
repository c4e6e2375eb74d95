import { formatHostPort } from "../core/net/address.ts";
import {
  type AccessEnd,
  type AccessEvent,
  AccessManager,
  AccessRefused,
  type AccessSessionInfo,
} from "../plugins/ws-agent/access/mod.ts";
import { accessFolder, type RunningAccess, serveAccess } from "./access_socket.ts";
import { CommandError } from "./command_error.ts";
import { endSignals } from "./end_signals.ts";
import { EXIT } from "./exit_codes.ts";
import { chooseGateway, type GatewayOptions } from "./gateway_choice.ts";
import { print, printHint } from "./print.ts";
import { accessLine, countsOf, remaining } from "./render_access.ts";
import { safe } from "./render_tunnel.ts";

/** The options of `postern access`, as commander gives them. */
export interface AccessOptions extends GatewayOptions {
  readonly localPort?: number;
  /** In milliseconds. */
  readonly ttl?: number;
}

const DEFAULT_TTL_MS = 3_600_000;
/** How often a terminal is shown what is left. */
const SHOW_MS = 1000;

/**
 * Brings one private service to a local port, until its time is over, Ctrl-C or `postern access stop`.
 *
 * @throws {CommandError} It can't, or the gateway ends it.
 */
export async function access(service: string, options: AccessOptions): Promise<void> {
  if (service.length > 255) throw new CommandError("No service has so long a name", EXIT.wrongUsage);
  const env = (name: string) => Deno.env.get(name);
  const { gateway, credentials, tls } = await chooseGateway(options, env);
  if (!("token" in credentials)) throw new CommandError("No token", EXIT.wrongUsage);
  const folder = accessFolder(env);
  const over = Promise.withResolvers<AccessEnd>();
  await using manager = new AccessManager({
    gateway,
    token: credentials.token,
    tls,
    onEvent: (event) => event.kind === "ended" ? over.resolve(event.end) : tell(event),
  });
  const signals = endSignals();
  try {
    const { ttl = DEFAULT_TTL_MS, localPort } = options;
    const starting = manager.startSession({
      service,
      ttlMs: ttl,
      ...(localPort !== undefined && { localPort }),
    })
      .catch((error) => {
        throw error instanceof AccessRefused ? refusal(service, error.end) : error;
      });
    const interrupted = signals.next().then(() => undefined);
    const session = await Promise.race([starting, interrupted]);
    if (session === undefined) {
      starting.catch(() => {}); // it ends with the manager
      return;
    }
    const { id } = session;
    const now = () => manager.listSessions().find((one) => one.id === id) ?? session;
    await using _socket = await serveAccess(folder, id, {
      status: () => describe(now()),
      stop: () => void manager.stopSession(id),
    });
    await giveUp();
    print(`${addressOf(session)}\n`);
    printHint(`postern: ${safe(session.service)} for ${remaining(session.remainingMs)}; its id is ${id}\n`);
    using _shown = showRemaining(now);
    void interrupted.then(() => manager.stopSession(id));
    const end = await over.promise;
    printHint(`${lineStart()}postern: ${farewell(end)}; ${countsOf(now())}\n`);
    if (end.kind === "lost") throw new CommandError("", EXIT.lostForGood);
  } finally {
    signals.forget();
  }
}

/** What other processes of this user are told. */
function describe(info: AccessSessionInfo): RunningAccess {
  const { id, service, state, remainingMs, connections, open, bytesIn, bytesOut } = info;
  return {
    id,
    pid: Deno.pid,
    service,
    local: formatHostPort(info.local),
    state,
    remainingMs,
    connections,
    open,
    bytesIn,
    bytesOut,
  };
}

function addressOf({ protocol, local }: AccessSessionInfo): string {
  return `${protocol === "http" ? "http://" : ""}${formatHostPort(local)}`;
}

function farewell({ kind, reason }: AccessEnd): string {
  switch (kind) {
    case "expired":
      return "The time is over";
    case "stopped":
      return "Stopped";
    case "lost":
      return `The access has ended: ${safe(reason)}`;
  }
}

function refusal(service: string, { word, reason }: AccessEnd): CommandError {
  if (word === "not_reached") return new CommandError(safe(reason), EXIT.couldNotStart);
  if (word === "not_let_in") {
    return new CommandError(`The gateway refuses this token: ${safe(reason)}`, EXIT.lostForGood);
  }
  return new CommandError(`No access to "${safe(service)}": ${safe(reason)}`, EXIT.couldNotStart);
}

function tell(event: Exclude<AccessEvent, { kind: "ended" }>): void {
  if (event.kind === "disconnected") {
    printHint(`${lineStart()}postern: ${safe(event.reason)}; trying again\n`);
  }
}

/** On a terminal, one line that is written anew every second. */
function showRemaining(now: () => AccessSessionInfo): Disposable {
  if (!Deno.stderr.isTerminal()) return { [Symbol.dispose]: () => {} };
  const timer = setInterval(() => printHint(lineStart() + accessLine(now())), SHOW_MS);
  return { [Symbol.dispose]: () => clearInterval(timer) };
}

function lineStart(): string {
  return Deno.stderr.isTerminal() ? "\r\x1b[K" : "";
}

/** What it needs from now on: the network, and to remove its socket. */
async function giveUp(): Promise<void> {
  for (const name of ["run", "ffi", "sys"] as const) await Deno.permissions.revoke({ name });
}
