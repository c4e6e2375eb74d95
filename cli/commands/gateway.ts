import { isDeepStrictEqual } from "node:util";
import { Command, InvalidArgumentError, Option } from "commander";
import type { GatewayConfig } from "../../core/config/config.ts";
import { messageOf } from "../../core/errors.ts";
import { LOG_LEVELS } from "../../core/log.ts";
import { ServiceManager } from "../../core/service_manager/service_manager.ts";
import { giveUpPermissions } from "../../core/supervisor/give_up.ts";
import { LogWriter } from "../../core/supervisor/log_writer.ts";
import { type Prepared, Supervisor, type SupervisorOptions } from "../../core/supervisor/supervisor.ts";
import { developmentIssuer, ensureDevelopmentCertificates } from "../../core/tls/dev_ca.ts";
import { watchFiles } from "../../core/watch_files.ts";
import { parseGateway } from "../../plugins/ws-agent/agent/gateway_address.ts";
import { CommandError } from "../command_error.ts";
import {
  addConfigOptions,
  configFile,
  configName,
  type ConfigOptions,
  prepareAgain,
  prepareOptions,
} from "../config_options.ts";
import {
  DEVELOPMENT_NAMES,
  DEVELOPMENT_WILDCARD,
  makesItsCertificates,
} from "../development_certificates.ts";
import { DEVELOPMENT_FOLDER } from "../development_token.ts";
import { EXIT } from "../exit_codes.ts";
import { describeGateway } from "../describe_gateway.ts";
import { DEVELOPMENT_GATEWAY } from "../gateway_choice.ts";

/** More data planes than this only cost memory on any machine that runs today. */
const MAX_THREADS = 64;

interface GatewayOptions extends ConfigOptions {
  readonly threads: number;
  readonly logLevel?: GatewayConfig["log"]["level"];
  readonly logFormat?: GatewayConfig["log"]["format"];
}

/** `postern gateway`: runs until a signal ends it. */
export function gatewayCommand(): Command {
  return addConfigOptions(new Command("gateway"))
    .description("runs the gateway")
    .option("--threads <n>", "data planes, each on a thread of its own, on the same ports", parseThreads, 1)
    .addOption(new Option("--log-level <level>", "how much is logged").choices(LOG_LEVELS))
    .addOption(new Option("--log-format <format>", "how it is logged").choices(["pretty", "json"]))
    .addHelpText(
      "after",
      "\nExamples:\n  deno task gateway\n  deno task gateway --config postern.yaml --threads 2 --set limits.idleTimeout=5m" +
        "\n\nSIGHUP reloads the config, and so does a change of it; SIGTERM and SIGINT let connections finish, a second one ends at once.",
    )
    .action(run);
}

async function run(options: GatewayOptions): Promise<void> {
  const withLog = { ...options, set: [...options.set, ...logSettings(options)] };
  const file = await configFile(options);
  const before = Date.now();
  const prepared = await prepareOptions(withLog, file);
  const development = await prepareDevelopment(prepared.config, file);
  // A development gateway writes some of its files itself when it starts.
  const since = development === NO_DEVELOPMENT ? before : undefined;
  const writer = new LogWriter(prepared.config.log.format, Deno.stdout);
  const supervisor = await Supervisor.start(prepared, {
    threads: options.threads,
    writer,
    ...development.certificates,
  });
  using manager = await ServiceManager.connect(Deno.env.get("NOTIFY_SOCKET"), supervisor.log);
  const givenUp = await giveUpPermissions([...prepared.plugins, ...(prepared.acme ? [prepared.acme] : [])]);
  supervisor.log.debug("permissions_given_up", { kinds: givenUp.join(" ") });
  const end = endSignal(); // before anybody reads that it runs, and ends it
  const banner = new TextEncoder().encode(
    describeGateway(supervisor, configName(file), development.hints(httpsPortOf(supervisor))),
  );
  // Where the log is for programs, it has the standard output to itself.
  const output = prepared.config.log.format === "json" ? Deno.stderr : Deno.stdout;
  await output.write(banner).catch(() => {}); // that nobody reads it is no reason not to serve
  const drained = await serve(supervisor, () => prepareAgain(withLog, file), { file, since, manager, end });
  if (!drained) throw new CommandError("", EXIT.interrupted);
}

interface Serving {
  /** The config; absent: there is none. */
  readonly file: string | undefined;
  /** When the config, and what it names, was about to be read. @default now */
  readonly since: number | undefined;
  readonly manager: ServiceManager | undefined;
  /** The signal to end. */
  readonly end: Promise<void>;
}

/** Runs until a signal, and ends in order. Resolves to whether every connection ended by itself. */
async function serve(
  supervisor: Supervisor,
  prepareAgain: () => Promise<Prepared>,
  { file, since, manager, end }: Serving,
): Promise<boolean> {
  const reloads = new Reloads(supervisor, prepareAgain, manager);
  const stopWatching = new AbortController();
  const { signal } = stopWatching;
  const onHangUp = () => reloads.reload();
  Deno.addSignalListener("SIGHUP", onHangUp);
  if (file !== undefined) {
    void watchFiles([file], onHangUp, { signal, ...(since !== undefined && { since }) });
  }
  reloads.watchFiles(since);
  try {
    await manager?.tell("ready", "Serving"); // and not before, when SIGHUP would still end the process
    await end;
    const again = endSignal();
    await manager?.tell("stopping", "Waiting for open connections to finish");
    return await Promise.race([supervisor.drain(), again.then(() => supervisor.stop()).then(() => false)]);
  } finally {
    stopWatching.abort();
    reloads.stopWatching();
    Deno.removeSignalListener("SIGHUP", onHangUp);
  }
}

/** Resolves at the next SIGTERM or SIGINT. */
function endSignal(): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const ends = ["SIGTERM", "SIGINT"] as const;
  const onSignal = () => {
    for (const name of ends) Deno.removeSignalListener(name, onSignal);
    resolve();
  };
  for (const name of ends) Deno.addSignalListener(name, onSignal);
  return promise;
}

/** One reload at a time; what comes meanwhile becomes one more. */
class Reloads {
  readonly #supervisor: Supervisor;
  readonly #prepare: () => Promise<Prepared>;
  readonly #manager: ServiceManager | undefined;
  #running = false;
  #again = false;
  readonly #certificates = new Watch(() => this.#supervisor.reloadCertificates());
  readonly #pluginFiles = new Watch(() => this.reload());

  constructor(
    supervisor: Supervisor,
    prepare: () => Promise<Prepared>,
    manager: ServiceManager | undefined,
  ) {
    this.#supervisor = supervisor;
    this.#prepare = prepare;
    this.#manager = manager;
  }

  reload(): void {
    if (this.#running) this.#again = true;
    else void this.#run();
  }

  async #run(): Promise<void> {
    this.#running = true;
    do {
      this.#again = false;
      await this.#once();
    } while (this.#again);
    this.#running = false;
  }

  /** Watches the files that the config names, and no others any more. @param since When they were about to be read. */
  watchFiles(since?: number): void {
    const { config, plugins } = this.#supervisor;
    this.#certificates.use(config.tls.certificates.flatMap(({ cert, key }) => [cert, key]), since);
    this.#pluginFiles.use(plugins.flatMap(({ watched }) => watched), since);
  }

  stopWatching(): void {
    this.#certificates.stop();
    this.#pluginFiles.stop();
  }

  /** A config that is wrong changes nothing; the log says what is wrong, and `status` says so too. */
  async #once(): Promise<void> {
    const { log } = this.#supervisor;
    let status = "Serving";
    await this.#manager?.tell("reloading", "Reading the config again");
    const since = Date.now();
    try {
      const needRestart = await this.#supervisor.reload(await this.#prepare());
      this.watchFiles(since); // there may be others now
      if (needRestart.length > 0) log.warn("restart_needed", { for: needRestart.join(", ") });
    } catch (error) {
      this.#supervisor.reloadError = messageOf(error);
      log.error("reload_refused", { reason: messageOf(error) });
      status = `Serving with the config before; refused: ${messageOf(error)}`;
    }
    if (!this.#supervisor.draining) await this.#manager?.tell("ready", status);
  }
}

/** Looks out for changes of a set of files that itself may change. */
class Watch {
  readonly #onChange: () => void | Promise<void>;
  #watching = new AbortController();
  #files: readonly string[] = [];

  constructor(onChange: () => void | Promise<void>) {
    this.#onChange = onChange;
  }

  use(files: readonly string[], since: number | undefined): void {
    if (isDeepStrictEqual(files, this.#files)) return; // a new watch could miss what changes just now
    this.stop();
    this.#watching = new AbortController();
    this.#files = files;
    const { signal } = this.#watching;
    void watchFiles(files, this.#onChange, { signal, ...(since !== undefined && { since }) });
  }

  stop(): void {
    this.#watching.abort();
  }
}

/** What a development gateway has beside its config. */
interface Development {
  /** What to tell the user. @param port Where the public connects to. */
  readonly hints: (port: string) => readonly string[];
  readonly certificates?: Pick<SupervisorOptions, "issueCertificate" | "certifiedNames">;
}

const NO_DEVELOPMENT: Development = { hints: () => [] };

async function prepareDevelopment(config: GatewayConfig, file: string | undefined): Promise<Development> {
  if (!makesItsCertificates(config, file)) return NO_DEVELOPMENT;
  const { ca } = await ensureDevelopmentCertificates(DEVELOPMENT_FOLDER, DEVELOPMENT_NAMES);
  const certificates = {
    issueCertificate: await developmentIssuer(DEVELOPMENT_FOLDER),
    certifiedNames: [DEVELOPMENT_WILDCARD],
  };
  if (!config.plugins.some(({ name }) => name === "ws-agent")) return { ...NO_DEVELOPMENT, certificates };
  return {
    certificates,
    hints: (port) => [
      `expose deno task postern http 3000 --name demo${
        gatewayOption(port)
      }  →  https://demo.localhost:${port}  →  127.0.0.1:3000`,
      `trust  ${ca} (curl --cacert ${ca}; import it into a browser)`,
    ],
  };
}

/** A development gateway is found without being named, unless its port is another one. */
function gatewayOption(port: string): string {
  const { host, port: usual } = parseGateway(DEVELOPMENT_GATEWAY);
  return port === String(usual) ? "" : ` --gateway wss://${host}:${port}`;
}

/** As bound: the config may leave it to the system. */
function httpsPortOf({ listeners }: Supervisor): string {
  const { address = "" } = listeners.find(({ kind }) => kind === "stream") ?? {};
  return address.slice(address.lastIndexOf(":") + 1);
}

function logSettings({ logLevel, logFormat }: GatewayOptions): string[] {
  return [
    ...(logLevel === undefined ? [] : [`log.level=${logLevel}`]),
    ...(logFormat === undefined ? [] : [`log.format=${logFormat}`]),
  ];
}

function parseThreads(text: string): number {
  const threads = Number(text);
  if (!Number.isInteger(threads) || threads < 1 || threads > MAX_THREADS) {
    throw new InvalidArgumentError(`Expected a whole number from 1 to ${MAX_THREADS}.`);
  }
  return threads;
}
