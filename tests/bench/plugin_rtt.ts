import { parseArgs } from "node:util";
import { type Address, freeAddress, hostPort } from "../support/processes.ts";
import { type Bench, describeMachine, positive } from "./bench.ts";
import { LoadGenerator, startBackends } from "./helper.ts";
import type { Rate, Target } from "./jobs.ts";
import { posternConfig, startPostern } from "./peers.ts";
import { median } from "./statistics.ts";

/** What a decision by an isolated plugin may cost more than by an inline one, at p50. */
const GOAL_US = 80;
const PLUGIN = new URL("./fixed_route_plugin.ts", import.meta.url).href;
const ISOLATIONS = ["inline", "worker"] as const;

/**
 * The same plugin twice in one gateway, inline and in a worker; connections go to one and the other in turn. Their
 * difference is what isolation costs.
 */
export const pluginRtt: Bench = {
  name: "plugin-rtt",
  usage: "plugin-rtt [--seconds 3] [--rounds 5]",
  async run(args, say) {
    const { values } = parseArgs({
      args: [...args],
      options: { seconds: { type: "string", default: "3" }, rounds: { type: "string", default: "5" } },
    });
    const seconds = positive(values.seconds);
    const rounds: { inline: Rate; worker: Rate }[] = [];
    const admin = freeAddress();

    await using stack = new AsyncDisposableStack();
    const backends = stack.use(await startBackends(["postern"]));
    const load = stack.use(new LoadGenerator());
    const address = freeAddress();
    const to = `127.0.0.1:${backends.portsOf("postern").echo}`;
    await startPostern(stack, configWithBoth(address, admin, to), address, 1);
    const targets = ISOLATIONS.map((isolation): Target => ({ address, serverName: nameOf(isolation) }));

    await load.run({ kind: "alternate", to: targets, seconds: 1 });
    for (let index = 0; index < positive(values.rounds); index++) {
      const [inline, worker] = await load.run({ kind: "alternate", to: targets, seconds });
      if (!inline || !worker) throw new TypeError("The load generator answered with too few figures");
      rounds.push({ inline, worker });
      say(`round ${index + 1}: inline ${inline.p50Us.toFixed(1)} µs, worker ${worker.p50Us.toFixed(1)} µs`);
    }
    const inlineUs = median(rounds.map(({ inline }) => inline.p50Us));
    const workerUs = median(rounds.map(({ worker }) => worker.p50Us));
    const moreUs = median(rounds.map(({ inline, worker }) => worker.p50Us - inline.p50Us));
    const decided = await decisionTimes(admin);
    const decisionUs = decided.worker - decided.inline;
    const met = decisionUs <= GOAL_US;
    return {
      text: `
connect to first answer, p50, one connection at a time
inline plugin    ${inlineUs.toFixed(1)} µs
isolated plugin  ${workerUs.toFixed(1)} µs
more             ${moreUs.toFixed(1)} µs

the decision alone, p50 of postern_route_seconds
inline plugin    ${decided.inline.toFixed(1)} µs
isolated plugin  ${decided.worker.toFixed(1)} µs
more             ${decisionUs.toFixed(1)} µs (${met ? "reached" : "MISSED"}: at most ${GOAL_US})`,
      json: {
        machine: await describeMachine(),
        seconds,
        inlineUs,
        workerUs,
        moreUs,
        decisionInlineUs: decided.inline,
        decisionWorkerUs: decided.worker,
        decisionUs,
        goalUs: GOAL_US,
        met,
        rounds,
      },
    };
  },
};

function configWithBoth(address: Address, admin: Address, to: string): unknown {
  const each = (make: (isolation: typeof ISOLATIONS[number]) => unknown) =>
    Object.fromEntries(ISOLATIONS.map((isolation) => [`route-${isolation}`, make(isolation)]));
  return posternConfig(address, each((isolation) => ({ name: nameOf(isolation), to })), {
    admin: { address: hostPort(admin) },
    declarations: each((isolation) => ({ module: PLUGIN, isolation, permissions: {} })),
  });
}

/** Where half of the decisions were made, in microseconds: a straight line within the bucket. */
async function decisionTimes(admin: Address): Promise<Record<typeof ISOLATIONS[number], number>> {
  const page = await (await fetch(`http://${hostPort(admin)}/metrics`)).text();
  const medianOf = (isolation: string) => {
    const line = new RegExp(
      `^postern_route_seconds_bucket\\{plugin="route-${isolation}",le="(.+)"\\} (\\d+)$`,
      "gm",
    );
    const buckets = Array.from(
      page.matchAll(line),
      ([, bound, count]) => ({ bound: Number(bound), count: Number(count) }),
    );
    const half = (buckets.at(-1)?.count ?? 0) / 2;
    const at = buckets.findIndex(({ count }) => count >= half);
    const [below, here] = [buckets[at - 1] ?? { bound: 0, count: 0 }, buckets[at]];
    if (!here || half === 0) throw new TypeError(`No decisions of the ${isolation} plugin were counted`);
    const share = (half - below.count) / (here.count - below.count);
    return (below.bound + share * (here.bound - below.bound)) * 1e6;
  };
  return { inline: medianOf("inline"), worker: medianOf("worker") };
}

function nameOf(isolation: string): string {
  return `${isolation}.bench.example`;
}
