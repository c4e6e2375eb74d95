import { Command, InvalidArgumentError, Option } from "commander";
import { canonicalNameFromConfig, NameTable, parseNamePattern } from "../../core/names.ts";
import type { ConnectionInfo, Decision, Protocol } from "../../core/plugin/contract.ts";
import type { GatewayConfig, ListenerConfig } from "../../core/config/config.ts";
import { SILENT_LOG } from "../../core/log.ts";
import { loadCertificates } from "../../core/tls/certificates.ts";
import { inlineHandle } from "../../core/plugin/host.ts";
import type { CheckedPlugin } from "../../core/supervisor/plugins.ts";
import { explainPlugin } from "../../core/supervisor/inspector.ts";
import type { Prepared } from "../../core/supervisor/supervisor.ts";
import { CommandError } from "../command_error.ts";
import { addConfigOptions, configFile, type ConfigOptions, prepareOptions } from "../config_options.ts";
import {
  DEVELOPMENT_NAMES,
  DEVELOPMENT_WILDCARD,
  makesItsCertificates,
} from "../development_certificates.ts";
import { EXIT } from "../exit_codes.ts";
import { print } from "../print.ts";

interface ExplainOptions extends ConfigOptions {
  readonly port?: number;
  readonly protocol: Exclude<Protocol, "other">;
}

/** `postern explain HOST`: what the gateway would do with a connection, without making one. */
export function explainCommand(): Command {
  return addConfigOptions(new Command("explain"))
    .description("says what the gateway would do with a connection for this name, step by step")
    .argument("<host>", "the name that the client asks for")
    .option("--port <port>", "the port that it connects to (default: the first listener's)", parsePort)
    .addOption(
      new Option("--protocol <protocol>", "what it speaks").choices(["tls", "postgres", "http", "ssh"])
        .default("tls"),
    )
    .addHelpText("after", "\nExample:\n  deno task postern explain db.example.com --protocol postgres")
    .action(async (host: string, options: ExplainOptions) => {
      const file = await configFile(options);
      const prepared = await prepareOptions(options, file);
      print((await explain(host, options, prepared, file)).join("\n") + "\n");
    });
}

async function explain(
  host: string,
  options: ExplainOptions,
  { config, plugins }: Prepared,
  file: string | undefined,
): Promise<string[]> {
  const serverName = canonicalNameFromConfig(host);
  if (serverName === undefined) throw new CommandError(`"${host}" is not a DNS name`, EXIT.wrongUsage);
  const listener = config.listeners.find(({ port }) => options.port === undefined || port === options.port);
  if (!listener) throw new CommandError(`Nothing listens on port ${options.port}`, EXIT.wrongUsage);
  const connection = describeConnection(serverName, options.protocol, listener);
  const lines = [
    `${options.protocol} connection for "${serverName}" at ${listener.address} (${listener.kind})`,
  ];
  if (listener.kind === "http" && options.protocol !== "http") {
    return [...lines, "= refused: this listener takes plain HTTP only"];
  }
  const undecided: string[] = [];
  for (const plugin of plugins) {
    const decision = await explainOne(plugin, connection, lines);
    if (decision === "at run time") undecided.push(plugin.name);
    else if (decision !== undefined) {
      const fault = await certificateFault(decision, serverName, () => certifiedNames(config, file));
      return [...lines, `= ${unless(undecided)}${fault ?? describeDecision(decision)}`];
    }
  }
  const answer = listener.kind === "http" && options.protocol === "http"
    ? "redirect to https"
    : `refused: ${REFUSALS[options.protocol]}`;
  return [...lines, `= ${unless(undecided)}no plugin takes it: ${answer}`];
}

/** What a plugin that decides at run time leaves open. */
function unless(undecided: readonly string[]): string {
  return undecided.length === 0
    ? ""
    : `unknown: ${undecided.join(" and ")} may take it at run time; if not: `;
}

/** What becomes of a handshake for which there is no certificate. */
async function certificateFault(
  decision: Decision,
  serverName: string,
  certified: () => Promise<readonly string[]>,
): Promise<string | undefined> {
  if (decision.kind !== "terminate") return undefined;
  const names = new NameTable<true>();
  for (const pattern of (await certified()).map(parseNamePattern)) {
    if (!names.get(pattern)) names.add(pattern, true);
  }
  return names.lookup(serverName) ? undefined : `refused: there is no certificate for "${serverName}"`;
}

async function certifiedNames(config: GatewayConfig, file: string | undefined): Promise<readonly string[]> {
  if (makesItsCertificates(config, file)) return [...DEVELOPMENT_NAMES, DEVELOPMENT_WILDCARD];
  const certificates = await loadCertificates(config.tls.certificates, SILENT_LOG);
  return certificates.flatMap(({ names }) => names);
}

/** Adds the plugin's steps to `lines`. Resolves to its decision, if it takes the connection. */
async function explainOne(
  plugin: CheckedPlugin,
  connection: ConnectionInfo,
  lines: string[],
): Promise<Decision | "at run time" | undefined> {
  const { name, traits, module, config } = plugin;
  if (!inlineHandle(name, traits, { route: () => undefined }).mayTake(connection)) {
    lines.push(`${name}: not one of its names (${traits.names?.join(", ")})`);
    return undefined;
  }
  const explanation = await explainPlugin(name, module, config, connection);
  if (explanation === undefined) {
    lines.push(`${name}: decides only at run time`);
    return "at run time";
  }
  lines.push(...explanation.steps.map((step) => `${name}: ${step}`));
  return explanation.decision;
}

const REFUSALS: Readonly<Record<ExplainOptions["protocol"], string>> = {
  tls: "TLS alert unrecognized_name",
  postgres: "TLS alert unrecognized_name, or PostgreSQL error 28000 without TLS",
  http: "404",
  ssh: "one line of text",
};

function describeConnection(
  serverName: string,
  protocol: Protocol,
  { address, port, kind }: ListenerConfig,
): ConnectionInfo {
  const client = { address: "127.0.0.1", port: 0 };
  const encrypted = protocol === "tls" || protocol === "postgres";
  return {
    id: "explain",
    listener: address,
    ...(kind === "http" && { listenerKind: "http" }),
    source: client,
    peer: client,
    destination: { address: "127.0.0.1", port },
    protocol,
    ...(encrypted && { tls: { serverName, alpn: [], versions: [0x0304, 0x0303] } }),
  };
}

function describeDecision(decision: Decision): string {
  switch (decision.kind) {
    case "forward": {
      const { to, proxyProtocol = "off", tls } = decision;
      const more = [
        ...(proxyProtocol === "off" ? [] : [`PROXY header: ${proxyProtocol}`]),
        ...(tls ? ["TLS"] : []),
      ];
      return `forward to ${[to].flat().join(", then ")}${more.length === 0 ? "" : ` (${more.join(", ")})`}`;
    }
    case "terminate": {
      const asked = decision.clientCertificate && ` (client certificate: ${decision.clientCertificate.mode})`;
      return `end TLS here${asked ?? ""}, then ${
        decision.then ? describeDecision(decision.then) : "ask again"
      }`;
    }
    case "handle":
      return "the plugin answers itself";
    case "open":
      return `relay to a stream that the plugin opens: ${decision.target}`;
    case "handover":
      return `hand over to ${decision.node}, as it came`;
    case "reject":
      return `refused: ${decision.reason}${decision.detail === undefined ? "" : ` (${decision.detail})`}`;
  }
}

function parsePort(text: string): number {
  const port = Number(text);
  if (!Number.isInteger(port) || port < 1 || port > 65_535) {
    throw new InvalidArgumentError("Expected a port from 1 to 65535.");
  }
  return port;
}
