import { messageOf } from "../core/errors.ts";
import { createLog, type Log } from "../core/log.ts";
import { giveUpPermissions } from "../core/supervisor/give_up.ts";
import type { AgentEvent } from "../plugins/ws-agent/agent/events.ts";
import { formatGateway } from "../plugins/ws-agent/agent/gateway_address.ts";
import type { AgentService, AgentSettings } from "../plugins/ws-agent/agent/settings.ts";
import type { InspectAt } from "../plugins/ws-agent/agent/worker_methods.ts";
import { formatTarget, knownHosts, parseTarget, type Target } from "../plugins/ws-agent/agent/target.ts";
import { isServiceName } from "../plugins/ws-agent/names.ts";
import { AgentHost } from "./agent_host.ts";
import { machineName } from "./agent_name.ts";
import { CommandError } from "./command_error.ts";
import { endSignals } from "./end_signals.ts";
import { EXIT } from "./exit_codes.ts";
import { chooseGateway, DEVELOPMENT_GATEWAY, type GatewayOptions } from "./gateway_choice.ts";
import { inspectorUrl, USUAL_PLACE } from "./inspect_option.ts";
import { randomName } from "./random_name.ts";
import { safe } from "./render_tunnel.ts";
import { openTunnelOutput, type TunnelOutput } from "./tunnel_output.ts";
import { TunnelState } from "./tunnel_state.ts";

/** The protocols that have a quick command. */
export type QuickProtocol = "http" | "tcp" | "tls" | "udp";

/** The options of the quick commands, as commander gives them. */
export interface ExposeOptions extends GatewayOptions {
  readonly name?: string;
  readonly hostname?: string;
  readonly remotePort?: number;
  readonly connections: number;
  /** Of http: where requests are shown; `true` for the usual place. */
  readonly inspect?: InspectAt | true;
}

const RECONNECT = { minMs: 500, maxMs: 30_000 };
/** How often the round trip and the counts are asked for. */
const STATUS_MS = 1000;
/** How long connections may go on after Ctrl-C. A second one ends them at once. */
const GRACE_MS = 3000;
const PROBE_MS = 1000;

/**
 * Exposes one local service until Ctrl-C.
 *
 * @throws {CommandError} It can't, or the gateway ends it for good.
 */
export async function expose(protocol: QuickProtocol, target: string, options: ExposeOptions): Promise<void> {
  const service = serviceFor(protocol, target, options);
  const choice = await chooseGateway(options, (name) => Deno.env.get(name));
  const settings: AgentSettings = {
    ...choice,
    name: `${machineName()}/${protocol}/${
      options.hostname ?? options.name ?? `${options.remotePort ?? 0}/${service.name}`
    }`,
    connections: options.connections,
    reconnect: RECONNECT,
    services: [service],
  };
  const state = new TunnelState(service, formatGateway(choice.gateway));
  // Whether somebody takes datagrams, nobody can tell.
  const silence = protocol === "udp" || await listens(service.target)
    ? undefined
    : `Nothing listens on ${formatTarget(service.target)} yet`;
  using output = openTunnelOutput(state);
  if (silence !== undefined) output.notice(silence);
  await run(settings, state, output, options.inspect === true ? USUAL_PLACE : options.inspect);
}

async function run(
  settings: AgentSettings,
  state: TunnelState,
  output: TunnelOutput,
  inspect: InspectAt | undefined,
): Promise<void> {
  const failed = Promise.withResolvers<never>();
  failed.promise.catch(() => {});
  const signals = endSignals();
  let host: AgentHost | undefined;
  let statusTimer: ReturnType<typeof setInterval> | undefined;
  try {
    host = await AgentHost.start(settings, {
      log: noticesOf(output),
      watchRequests: settings.services.some(({ protocol }) => protocol === "http"),
      onEvent(event) {
        const fault = faultAtStart(event, state, settings);
        if (fault) failed.reject(fault);
        else output.event(event);
      },
      inspect,
      onInspector: (address) => output.inspector(inspectorUrl(address)),
      onDropped: (count) => void (state.requestsTotal += count),
    });
    await giveUpPermissions([]);
    void host.lost.then(({ reason }) =>
      failed.reject(new CommandError(`The gateway refuses this agent: ${safe(reason)}`, EXIT.lostForGood))
    );
    statusTimer = setInterval(() => void refresh(host, state, output), STATUS_MS);
    await Promise.race([signals.next(), failed.promise]);
    state.state = "stopping";
    state.detail = "";
    output.changed();
    const stopping = host.stop(GRACE_MS);
    void signals.next().then(() => host?.stopNow());
    if (!await stopping) throw new CommandError("", EXIT.interrupted);
  } finally {
    clearInterval(statusTimer);
    signals.forget();
    host?.stopNow();
    await host?.stop(0);
  }
}

async function refresh(host: AgentHost | undefined, state: TunnelState, output: TunnelOutput): Promise<void> {
  state.status = await host?.status();
  output.changed();
}

/** What is wrong before anything has worked is for the user to put right, and not to be tried again and again. */
function faultAtStart(
  event: AgentEvent,
  state: TunnelState,
  { gateway }: AgentSettings,
): CommandError | undefined {
  if (state.url !== undefined) return undefined;
  if (event.kind === "disconnected" && !event.wasConnected && !state.wasIn) {
    const isDevelopment = formatGateway(gateway) === DEVELOPMENT_GATEWAY &&
      /nothing listens/.test(event.reason);
    const hint = isDevelopment ? "; start one with deno task gateway, or give --gateway" : "";
    return new CommandError(safe(event.reason) + hint, EXIT.couldNotStart);
  }
  // What passes is waited for: a name that somebody has may be free in a moment, since its agent was lost just now.
  if (event.kind !== "refused" || !event.isFinal) return undefined;
  return new CommandError(
    `The gateway does not take "${event.service}": ${safe(event.reason)}`,
    EXIT.couldNotStart,
  );
}

/** What the worker's keeper has to say goes where everything else goes. */
function noticesOf(output: TunnelOutput): Log {
  return createLog(
    "agent",
    "warn",
    ({ event, fields }) => output.notice(safe(`${event} ${fields["reason"] ?? ""}`)),
  );
}

/** @throws {CommandError} */
function serviceFor(protocol: QuickProtocol, text: string, options: ExposeOptions): AgentService {
  const target = readTarget(protocol, text);
  const name = options.name ?? defaultName(protocol, target, options);
  if (!isServiceName(name)) {
    throw wrong(`"${safe(name)}" is no name: letters, digits, dots, hyphens and underscores, at most 63`);
  }
  return {
    name,
    protocol,
    target,
    proxyProtocol: "off",
    ...(options.hostname !== undefined && { hostname: options.hostname }),
    ...(options.remotePort !== undefined && { remotePort: options.remotePort }),
  };
}

function readTarget(protocol: QuickProtocol, text: string): Target {
  try {
    return parseTarget(text, { urls: protocol === "http" });
  } catch (error) {
    throw new CommandError(messageOf(error), EXIT.wrongUsage, { cause: error });
  }
}

/** One that follows from what is asked for where it can: it is in the gateway's log. */
function defaultName(protocol: QuickProtocol, { port }: Target, { hostname }: ExposeOptions): string {
  if (protocol === "tcp" || protocol === "udp") return `${protocol}-${port}`;
  return hostname?.split(".", 1)[0] ?? randomName();
}

/** Whether the target takes connections; also when that can't be told in time. */
async function listens(target: Target): Promise<boolean> {
  const late = new AbortController();
  const timer = setTimeout(() => late.abort(), PROBE_MS);
  try {
    for (const hostname of knownHosts(target) ?? [target.host]) {
      try {
        (await Deno.connect({ hostname, port: target.port, signal: late.signal })).close();
        return true;
      } catch (error) {
        if (!(error instanceof Deno.errors.ConnectionRefused)) return true;
      }
    }
    return false;
  } finally {
    clearTimeout(timer);
  }
}

function wrong(message: string): CommandError {
  return new CommandError(message, EXIT.wrongUsage);
}
