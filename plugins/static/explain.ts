import { type ConnectionInfo, type Explanation, parseNamePattern } from "../../core/plugin/mod.ts";
import type { RouteConfig, StaticConfig } from "./config.ts";
import { decisionMaker } from "./decision_maker.ts";
import { acceptsProtocol, RouteTable } from "./route_table.ts";

/** Routes that don't fit are told one by one up to this many; a name may be missing among thousands. */
const MAX_MISSES = 10;

/** Walks a connection through the routes, in words. Nothing is known of health and load here. */
export function explain({ routes }: StaticConfig, connection: ConnectionInfo): Explanation {
  const chosen = new RouteTable(routes).find(connection);
  const told = routes.map((route, i) => ({ route, verdict: `routes[${i}] (${describeMatch(route)})` }));
  const fits = told.filter(({ route }) => misses(route, connection) === undefined && route !== chosen);
  const steps = [`The client ${describeClient(connection)}`];
  if (chosen === undefined) {
    for (const { route, verdict } of told.slice(0, MAX_MISSES)) {
      steps.push(`${verdict} does not fit: ${misses(route, connection) ?? ""}`);
    }
    if (told.length > MAX_MISSES) steps.push(`${told.length - MAX_MISSES} more routes do not fit`);
    steps.push("No route takes it: the next plugin is asked");
    return { steps };
  }
  for (const { verdict } of fits) steps.push(`${verdict} fits too, but is less specific`);
  steps.push(`routes[${routes.indexOf(chosen)}] (${describeMatch(chosen)}) takes it`);
  if (chosen.terminate) steps.push("The gateway terminates TLS with its certificate for that name");
  steps.push(describeTargets(chosen));
  return { steps, decision: decisionMaker(chosen)(chosen.to) };
}

/** What a route matches, as in `db.example.com` or `*.example.com with protocol postgres`. */
export function describeMatch({ sni, protocol }: RouteConfig): string {
  if (sni === undefined) return `protocol ${protocol}`;
  return sni.join(", ") + (protocol === undefined ? "" : ` with protocol ${protocol}`);
}

/** What is done with what a route matches. */
export function describeAction({ terminate, proxyProtocol }: RouteConfig): string {
  const header = proxyProtocol === "off" ? "" : `, PROXY header ${proxyProtocol}`;
  return `${terminate ? "terminate TLS, " : ""}forward${header}`;
}

function describeClient({ protocol, tls }: ConnectionInfo): string {
  const speaks = protocol === "postgres" && tls ? "postgres with TLS" : protocol;
  const asks = tls === undefined
    ? "has no server name to ask for"
    : tls.serverName === undefined
    ? "asks for no server name"
    : `asks for "${tls.serverName}"`;
  return `speaks ${speaks} and ${asks}`;
}

/** Why a route does not fit, or nothing when it does. */
function misses(route: RouteConfig, connection: ConnectionInfo): string | undefined {
  const name = connection.tls?.serverName;
  if (route.sni !== undefined && name === undefined) return "it needs a server name";
  if (name !== undefined && !(route.sni?.some((one) => parseNamePattern(one).matches(name)) ?? true)) {
    return "another name";
  }
  return acceptsProtocol(route, connection) ? undefined : "another protocol";
}

function describeTargets({ to, balance, healthCheck }: RouteConfig): string {
  if (to.length === 1) return `It goes to ${to[0]}`;
  const checked = healthCheck === undefined ? "" : ", those that fail their checks last";
  return `It goes to one of ${
    to.join(", ")
  } (${balance}${checked}); the others are tried when it can't be reached`;
}
