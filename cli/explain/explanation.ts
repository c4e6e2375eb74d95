import type { GatewayConfig, ListenerConfig } from "../../core/config/config.ts";
import type { ConnectionInfo, Decision } from "../../core/plugin/contract.ts";
import { inlineHandle } from "../../core/plugin/host.ts";
import { explainPlugin } from "../../core/supervisor/inspector.ts";
import type { CheckedPlugin } from "../../core/supervisor/plugins.ts";
import type { Prepared } from "../../core/supervisor/supervisor.ts";
import { type CertificateContext, findCertificate } from "./certificate.ts";
import { describeDecision } from "./decision.ts";
import { type AskedProtocol, describeConnection, findPlace, type Question } from "./question.ts";

/** One thing that happens on the way, and whose doing it is: `listener`, `preface`, a plugin's word, `certificate`. */
export interface ExplainedStep {
  readonly by: string;
  readonly says: string;
}

/** What would become of a connection. */
export interface Explained {
  /** What was asked, in one line. */
  readonly asked: string;
  readonly steps: readonly ExplainedStep[];
  readonly result: string;
}

/** Walks a connection through the gateway in words: nothing is connected to, nothing started, and no database asked. */
export async function explain(
  question: Question,
  { config, plugins }: Prepared,
  file: string | undefined,
): Promise<Explained> {
  const place = findPlace(question, config.listeners, plugins);
  const connection = describeConnection(question, place);
  if (place.kind === "plugin") return await explainPort(place.plugin, connection);
  const { listener } = place;
  const { protocol, serverName } = question;
  const name = serverName === undefined ? "no name" : `"${serverName}"`;
  const asked = `${protocol} connection for ${name} at ${listener.address} (${listener.kind})`;
  const before = beforePlugins(listener, protocol, config);
  if (listener.kind === "http" && protocol !== "http") {
    return { asked, steps: before, result: "refused: this listener takes plain HTTP only" };
  }
  const { steps, result } = await askPlugins(plugins, connection, { config, plugins, file });
  return { asked, steps: [...before, ...steps], result };
}

async function explainPort(plugin: CheckedPlugin, connection: ConnectionInfo): Promise<Explained> {
  const { name, module, config } = plugin;
  const { port } = connection.destination;
  const explanation = await explainPlugin(name, module, config, connection);
  return {
    asked: `connection to port ${port}, which ${name} opens while somebody has it`,
    steps: (explanation?.steps ?? []).map((says) => ({ by: name, says })),
    result: explanation?.decision
      ? describeDecision(explanation.decision)
      : `unknown: what is behind port ${port} is for ${name} to say at run time`,
  };
}

/** What happens to a connection before a plugin hears of it. */
function beforePlugins(
  { proxyFrom }: ListenerConfig,
  protocol: AskedProtocol,
  { limits }: GatewayConfig,
): ExplainedStep[] {
  const trusted = proxyFrom.length === 0
    ? "It believes no PROXY header: who sends one is refused"
    : `It believes a PROXY header from ${proxyFrom.join(", ")}, and refuses it from others`;
  const bounds = `within ${limits.prefaceTimeoutMs / 1000} s and ${limits.maxPrefaceBytes} bytes`;
  return [
    { by: "listener", says: trusted },
    { by: "preface", says: `${PREFACES[protocol]}, ${bounds}` },
  ];
}

const PREFACES: Readonly<Record<AskedProtocol, string>> = {
  tls: "The ClientHello is read for its server name",
  postgres: "PostgreSQL's SSLRequest, then the ClientHello is read for its server name",
  http: "Plain HTTP is known by its first bytes; it asks for no name by TLS",
  ssh: "SSH is known by its first bytes; it asks for no name",
};

async function askPlugins(
  plugins: readonly CheckedPlugin[],
  connection: ConnectionInfo,
  context: CertificateContext,
): Promise<Omit<Explained, "asked">> {
  const steps: ExplainedStep[] = [];
  const undecided: string[] = [];
  for (const plugin of plugins) {
    const decision = await explainOne(plugin, connection, steps);
    if (decision === "at run time") undecided.push(plugin.name);
    else if (decision !== undefined) {
      return { steps, result: unless(undecided) + await carriedOut(decision, connection, context, steps) };
    }
  }
  const redirected = connection.listenerKind === "http" && connection.protocol === "http";
  const answer = redirected ? "redirect to https" : `refused: ${REFUSALS[connection.protocol]}`;
  return { steps, result: `${unless(undecided)}no plugin takes it: ${answer}` };
}

const REFUSALS: Readonly<Record<ConnectionInfo["protocol"], string>> = {
  tls: "TLS alert unrecognized_name",
  postgres: "TLS alert unrecognized_name, or PostgreSQL error 28000 without TLS",
  http: "404",
  ssh: "one line of text",
  other: "one line of text",
};

/** Adds the plugin's steps. Resolves to its decision, if it takes the connection. */
async function explainOne(
  plugin: CheckedPlugin,
  connection: ConnectionInfo,
  steps: ExplainedStep[],
): Promise<Decision | "at run time" | undefined> {
  const { name, traits, module, config } = plugin;
  const tell = (says: string) => void steps.push({ by: name, says });
  if (!inlineHandle(name, traits, { route: () => undefined }).mayTake(connection)) {
    tell(`not one of its names (${traits.names?.join(", ")})`);
    return undefined;
  }
  const explanation = await explainPlugin(name, module, config, connection);
  if (explanation === undefined) {
    tell("decides only at run time");
    return "at run time";
  }
  explanation.steps.forEach(tell);
  return explanation.decision;
}

/** What comes of a decision, with the certificate that the client would see first. */
async function carriedOut(
  decision: Decision,
  { tls }: ConnectionInfo,
  context: CertificateContext,
  steps: ExplainedStep[],
): Promise<string> {
  const tell = (says: string) => void steps.push({ by: "certificate", says });
  if (decision.kind === "forward" && tls) tell("The upstream's own: TLS is passed on as it is");
  if (decision.kind !== "terminate") return describeDecision(decision);
  const { steps: found, found: isThere } = await findCertificate(tls?.serverName, context);
  found.forEach(tell);
  if (isThere) return describeDecision(decision);
  return tls?.serverName === undefined
    ? `refused: ${REFUSALS.tls}`
    : `refused: there is no certificate for "${tls.serverName}"`;
}

/** What a plugin that decides at run time leaves open. */
function unless(undecided: readonly string[]): string {
  return undecided.length === 0
    ? ""
    : `unknown: ${undecided.join(" and ")} may take it at run time; if not: `;
}
