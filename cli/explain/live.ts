import { parseNamePattern } from "../../core/names.ts";
import type { LiveRoute } from "../admin_client.ts";
import type { Question } from "./question.ts";
import type { ExplainedStep } from "./explanation.ts";

/** Of one route, so many targets are told of one by one. */
const MAX_TARGETS = 8;

/** What a running gateway knows about the same question: who holds the name or the port, and how its targets are. */
export function explainLive(question: Question, routes: readonly LiveRoute[]): ExplainedStep[] {
  const about = routes.filter(({ match }) => isAbout(match, question));
  const nobody = "Nobody has it in the gateway that runs";
  return (about.length === 0 ? [nobody] : about.map(describe)).map((says) => ({ by: "live", says }));
}

function describe({ plugin, match, action, targets = [] }: LiveRoute): string {
  const told = targets.slice(0, MAX_TARGETS).map(({ target, healthy, connections }) =>
    `${target} (${healthy ? "healthy" : "NOT healthy"}, ${connections} open)`
  );
  const more = targets.length > MAX_TARGETS ? [`${targets.length - MAX_TARGETS} more`] : [];
  return [`${plugin}: ${match}: ${action}`, ...told.length > 0 ? [[...told, ...more].join(", ")] : []].join(
    "; ",
  );
}

/** Whether a route's `match`, as plugins write it, has what is asked for. */
function isAbout(match: string, { serverName, port, protocol }: Question): boolean {
  const [, ofPort] = /^(?:UDP )?port (\d+)$/.exec(match) ?? [];
  if (ofPort !== undefined) return Number(ofPort) === port;
  if (match.startsWith("protocol ")) return match === `protocol ${protocol}`;
  const [names = "", only] = match.split(" with protocol ");
  if (serverName === undefined || (only !== undefined && only !== protocol)) return false;
  return names.split(", ").some((name) => matches(name, serverName));
}

/** A plugin's own words may be no pattern. */
function matches(pattern: string, name: string): boolean {
  try {
    return parseNamePattern(pattern).matches(name);
  } catch {
    return false;
  }
}
