import { Command, Option } from "commander";
import { messageOf } from "../../core/errors.ts";
import { createLog, type Log, LOG_LEVELS, type LogLevel } from "../../core/log.ts";
import { ServiceManager } from "../../core/service_manager/service_manager.ts";
import { giveUpPermissions } from "../../core/supervisor/give_up.ts";
import { LogWriter } from "../../core/supervisor/log_writer.ts";
import { watchFiles } from "../../core/watch_files.ts";
import { formatGateway } from "../../plugins/ws-agent/agent/gateway_address.ts";
import { formatProxy } from "../../plugins/ws-agent/agent/proxy/proxy_address.ts";
import type { AgentSettings } from "../../plugins/ws-agent/agent/settings.ts";
import { AgentHost } from "../agent_host.ts";
import { logAgentEvent } from "../agent_log.ts";
import { readAgentSettings } from "../agent_settings.ts";
import { CommandError } from "../command_error.ts";
import { endSignals } from "../end_signals.ts";
import { EXIT } from "../exit_codes.ts";

/** How long connections may go on after the first signal. */
const GRACE_MS = 10_000;

interface AgentOptions {
  readonly config: string;
  readonly logLevel: LogLevel;
  readonly logFormat?: "pretty" | "json";
}

/** `postern agent`: runs an agent until a signal ends it. */
export function agentCommand(): Command {
  return new Command("agent")
    .description("runs an agent that exposes local services through a gateway")
    .option("-c, --config <file>", "the agent's config", "agent.yaml")
    .addOption(new Option("--log-level <level>", "how much is logged").choices(LOG_LEVELS).default("info"))
    .addOption(
      new Option("--log-format <format>", "how it is logged (default: pretty on a terminal, else json)")
        .choices(["pretty", "json"]),
    )
    .addHelpText(
      "after",
      "\nExample:\n  deno task agent --config agent.yaml" +
        "\n\nSIGHUP reloads the config, and so does a change of it; SIGTERM and SIGINT let connections finish, a second one ends at once.",
    )
    .action(run);
}

async function run({ config: file, logLevel, logFormat }: AgentOptions): Promise<void> {
  const since = Date.now();
  const settings = await readAgentSettings(file);
  const writer = new LogWriter(logFormat ?? (Deno.stdout.isTerminal() ? "pretty" : "json"), Deno.stdout);
  const log = createLog("agent", logLevel, (event) => writer.write(event));
  const host = await start(settings, log);
  using manager = await ServiceManager.connect(Deno.env.get("NOTIFY_SOCKET"), log);
  const givenUp = await giveUpPermissions([]);
  log.info("agent_started", {
    gateway: formatGateway(settings.gateway),
    proxy: settings.proxy && formatProxy(settings.proxy),
    services: settings.services.length,
    net: host.net.join(" "),
  });
  log.debug("permissions_given_up", { kinds: givenUp.join(" ") });
  try {
    await serve(host, { file, since, log, manager });
  } finally {
    await writer.flush();
  }
}

async function start(settings: AgentSettings, log: Log): Promise<AgentHost> {
  try {
    return await AgentHost.start(settings, {
      log,
      watchRequests: log.enabled("debug"),
      onEvent: (event) => logAgentEvent(log, event),
      onDropped: (dropped) => log.warn("requests_not_logged", { dropped }),
    });
  } catch (cause) {
    throw new CommandError(`The agent did not start: ${messageOf(cause)}`, EXIT.couldNotStart, { cause });
  }
}

interface Serving {
  /** The agent's config. */
  readonly file: string;
  /** When it was about to be read. */
  readonly since: number;
  readonly log: Log;
  readonly manager: ServiceManager | undefined;
}

/** Runs until a signal, or until trying makes no sense any more. */
async function serve(host: AgentHost, { file, since, log, manager }: Serving): Promise<void> {
  const signals = endSignals();
  const reload = () => reloadFrom(host, file, log);
  const watching = new AbortController();
  Deno.addSignalListener("SIGHUP", reload);
  const watched = watchFiles([file], reload, { signal: watching.signal, since });
  try {
    await manager?.tell("ready", "Running");
    const lost = await Promise.race([signals.next(), host.lost]);
    if (lost) throw new CommandError(`The gateway refuses this agent: ${lost.reason}`, EXIT.lostForGood);
    await manager?.tell("stopping", "Waiting for open connections to finish");
    const stopping = host.stop(GRACE_MS);
    void signals.next().then(() => host.stopNow());
    if (!await stopping) throw new CommandError("", EXIT.interrupted);
  } finally {
    watching.abort();
    await watched;
    Deno.removeSignalListener("SIGHUP", reload);
    signals.forget();
    host.stopNow();
    await host.stop(0);
  }
}

/** A config that is wrong changes nothing; the log says what is wrong. */
async function reloadFrom(host: AgentHost, file: string, log: Log): Promise<void> {
  try {
    await host.update(await readAgentSettings(file));
    log.info("reloaded", { net: host.net.join(" ") });
  } catch (error) {
    log.error("reload_refused", { reason: messageOf(error) });
  }
}
