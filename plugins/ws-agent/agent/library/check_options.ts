import { formatPath } from "../../../../core/config/path.ts";
import { GatewayError } from "../../../../core/plugin/mod.ts";
import { checkAgentKeys } from "../agent_file.ts";
import type { ConnectionHandler } from "../in_process/handler.ts";
import { httpHandler } from "../in_process/http_handler.ts";
import { streamHandler } from "../in_process/stream_handler.ts";
import { chooseProxy } from "../proxy/choose_proxy.ts";
import type { AgentService, AgentSettings } from "../settings.ts";
import { IN_PROCESS } from "../target.ts";
import type { AgentOptions, ServiceOptions } from "./options.ts";

/** Stands in the place of a target for the check of the rest. */
const ANY_TARGET = 1;

/**
 * Checks what a program asks for, by the rules of `agent.yaml`.
 *
 * @throws {GatewayError} `config-invalid`, with everything that is wrong, one line each.
 */
export function toSettings(
  { onConnection: _, onEvent: _1, watchRequests: _2, services, tls = {}, ...rest }: AgentOptions,
): AgentSettings {
  if (!Array.isArray(services)) throw invalid(["services: Required: a list of services"]);
  const { ca, ...ofTls } = tls;
  const value = {
    ...withoutAbsent(rest),
    tls: withoutAbsent(ofTls),
    services: services.map(withoutHandler),
  };
  const checked = checkAgentKeys(value);
  const problems = [
    ...(checked.ok ? [] : checked.issues.map(({ path, message }) => `${formatPath(path)}: ${message}`)),
    ...services.flatMap((service, i) => handlerFaults(service).map((fault) => `services[${i}].${fault}`)),
    ...(ca === undefined || isPem(ca)
      ? []
      : ["tls.ca: There is no certificate in it; it is PEM, not a file"]),
  ];
  if (!checked.ok || problems.length > 0) throw invalid(problems);
  const { insecure, settings, proxy: configured } = checked.value;
  const proxy = chooseProxy(settings.gateway, configured, () => undefined);
  return {
    name: settings.services.map(({ name }) => name).join(","),
    ...settings,
    ...(proxy !== undefined && { proxy }),
    tls: { insecure, ...(ca !== undefined && { extraCa: ca }) },
    services: settings.services.map((service, i) => withHandler(service, services[i])),
  };
}

/** What JavaScript passes for an option that is not given. */
function withoutAbsent(options: object): Record<string, unknown> {
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined));
}

function isPem(text: unknown): boolean {
  return typeof text === "string" && text.includes("-----BEGIN CERTIFICATE-----");
}

function withoutHandler(service: ServiceOptions): unknown {
  if (typeof service !== "object" || service === null || !isHandled(service)) {
    return typeof service === "object" && service !== null ? withoutAbsent(service) : service;
  }
  const { fetch: _, handle: _1, ...rest } = service as { fetch?: unknown; handle?: unknown };
  return { target: ANY_TARGET, ...withoutAbsent(rest) };
}

function isHandled(service: ServiceOptions): boolean {
  return "fetch" in service || "handle" in service;
}

/** What is wrong with a service that is served by the program, and its schema does not know of. */
function handlerFaults(service: ServiceOptions): string[] {
  if (typeof service !== "object" || service === null || !isHandled(service)) return [];
  const { protocol, fetch, handle, target, proxyProtocol } = service as unknown as Record<string, unknown>;
  const faults: string[] = [];
  if (target !== undefined) faults.push("target: Either a target or a function, not both");
  if (proxyProtocol !== undefined) faults.push("proxyProtocol: Only targets are sent a PROXY header");
  const isHttp = protocol === "http";
  if (isHttp && typeof fetch !== "function") faults.push("fetch: Required: a function, for an http service");
  if (!isHttp && typeof handle !== "function") {
    faults.push("handle: Required: a function, for a tcp or tls service");
  }
  if (isHttp && handle !== undefined) faults.push("handle: Only for tcp and tls, and this is http");
  if (!isHttp && fetch !== undefined) faults.push(`fetch: Only for http, and this is ${protocol}`);
  if (protocol === "udp") faults.push("protocol: Only targets can be served by udp");
  return faults;
}

function withHandler(service: AgentService, options: ServiceOptions | undefined): AgentService {
  const handler = options && handlerOf(options);
  return handler === undefined ? service : { ...service, target: IN_PROCESS, handler };
}

function handlerOf(options: ServiceOptions): ConnectionHandler | undefined {
  if ("fetch" in options) return httpHandler(options.fetch);
  return "handle" in options ? streamHandler(options.handle) : undefined;
}

function invalid(problems: readonly string[]): GatewayError {
  return new GatewayError("config-invalid", problems.join("\n"));
}
