import { isAddress, parseCidrs } from "../../../../core/plugin/mod.ts";
import type { GatewayAddress } from "../gateway_address.ts";
import { isLoopback } from "../target.ts";
import { parseProxy, type ProxyAddress } from "./proxy_address.ts";

/**
 * The proxy on the way to a gateway: that of the config, else that of `HTTPS_PROXY` for a gateway with TLS, unless `NO_PROXY` names the
 * gateway. A gateway on this machine is never reached by one.
 *
 * @param configured `none`: no proxy, whatever the environment says.
 * @param env Looks up a variable. Those in lower case come first.
 * @throws {GatewayError} `config-invalid`: the variable holds no address of a proxy.
 */
export function chooseProxy(
  gateway: GatewayAddress,
  configured: ProxyAddress | "none" | undefined,
  env: (name: string) => string | undefined,
): ProxyAddress | undefined {
  if (isLoopback(gateway) || configured === "none") return undefined;
  if (configured !== undefined) return configured;
  const of = (name: string) => env(name) || env(name.toUpperCase()) || undefined;
  const text = of("https_proxy");
  if (!gateway.secure || text === undefined || isExcepted(gateway, of("no_proxy") ?? "")) return undefined;
  return parseProxy(text);
}

/**
 * Whether `NO_PROXY` names a host: `*`, a name (and all below it, with a dot in front or not), an address, a range of addresses, each with
 * or without a port; separated by commas. What is none of these names nobody.
 */
function isExcepted({ host, port }: GatewayAddress, list: string): boolean {
  return list.toLowerCase().split(/[\s,]+/).some((entry) => {
    if (entry === "*") return true;
    if (isRange(entry)) return names(entry, host); // before ports are looked for: IPv6 has colons of its own
    const [, name = "", itsPort] = /^(\[.*\]|[^:[]*)(?::(\d+))?$/.exec(entry) ?? [];
    return (itsPort === undefined || Number(itsPort) === port) &&
      names(name.replace(/^\[(.*)\]$/, "$1"), host);
  });
}

function names(entry: string, host: string): boolean {
  if (isAddress(host)) return isRange(entry) && parseCidrs([entry]).has(host);
  const name = entry.replace(/^\*?\./, "");
  return name !== "" && (host === name || host.endsWith(`.${name}`));
}

function isRange(entry: string): boolean {
  try {
    parseCidrs([entry]);
    return true;
  } catch {
    return false;
  }
}
