import assert from "node:assert/strict";
import { ClientHelloParser } from "../../core/data_plane/preface/client_hello.ts";
import { clientHello } from "./client_hello.ts";
import { L4_GOALS, MTLS_GOALS, TUNNEL_GOALS } from "./goals.ts";
import { type Figures, formatTable, judge, metricsOf, type Round } from "./report.ts";
import { measureRounds } from "./rounds.ts";
import { SCENARIOS } from "./scenarios.ts";
import { MTLS_SCENARIOS } from "./mtls_scenarios.ts";
import { median, percentile } from "./statistics.ts";
import { TUNNEL_SCENARIOS } from "./tunnel_scenarios.ts";

Deno.test("the bench's ClientHello is one that the gateway understands, as long as a real one", () => {
  const hello = clientHello("echo.bench.example");
  assert.equal(hello.length, 512);
  const parsed = new ClientHelloParser().push(hello);
  assert.ok(parsed.kind === "yes");
  assert.equal(parsed.length, hello.length);
  assert.equal(parsed.value.serverName, "echo.bench.example");
  assert.deepEqual(parsed.value.versions, [0x0304, 0x0303]);
});

Deno.test("median() takes the middle, or the mean of the two", () => {
  assert.equal(median([3, 1, 2]), 2);
  assert.equal(median([4, 1, 3, 2]), 2.5);
});

Deno.test("percentile() is the nearest rank", () => {
  const sorted = Array.from({ length: 100 }, (_, i) => i + 1);
  assert.deepEqual([percentile(sorted, 0.5), percentile(sorted, 0.99), percentile(sorted, 1)], [50, 99, 100]);
  assert.equal(percentile([7], 0.5), 7);
});

const figures: Figures = {
  metrics: metricsOf(SCENARIOS),
  goals: L4_GOALS,
  ratios: [["haproxy"], ["haproxy", "nginx"]],
};

for (
  const [bench, goals, scenarios] of [
    ["l4", L4_GOALS, SCENARIOS],
    ["mtls", MTLS_GOALS, MTLS_SCENARIOS],
    ["tunnel", TUNNEL_GOALS, TUNNEL_SCENARIOS],
  ] as const
) {
  Deno.test(`every goal of ${bench} is about something that is measured`, () => {
    const metrics = metricsOf(scenarios);
    assert.deepEqual(
      goals.map(({ metric }) => metric).filter((metric) => !Object.hasOwn(metrics, metric)),
      [],
    );
  });
}

const rounds: Round[] = [
  {
    postern: { "connections/s": 60, "round trip p50": 11 },
    haproxy: { "connections/s": 100, "round trip p50": 10 },
  },
  {
    postern: { "connections/s": 35, "round trip p50": 30 },
    haproxy: { "connections/s": 50, "round trip p50": 20 },
  },
  {
    postern: { "connections/s": 80, "round trip p50": 12 },
    haproxy: { "connections/s": 100, "round trip p50": 10 },
  },
];

Deno.test("goals are judged by the median of the rounds' own ratios", () => {
  const verdicts = judge(rounds, figures).filter(({ met }) => met !== undefined);
  assert.deepEqual(verdicts.map(({ metric, value, met }) => [metric, value, met]), [
    ["connections/s", 0.7, true],
    ["round trip p50", 1.2, false],
  ]);
});

Deno.test("the table has a row a metric and the ratios behind the peers", () => {
  const [head, row] = formatTable(rounds, ["postern", "haproxy"], figures).split("\n");
  assert.match(head ?? "", /postern +haproxy +÷ haproxy +÷ best/);
  assert.match(row ?? "", /^connections\/s \[\/s\] +60\.0 +100 +0\.70 +-$/);
});

Deno.test("each scenario meets all peers before the next, in another order each round", async () => {
  const named = (...names: string[]) => names.map((name) => ({ name }));
  const met: string[] = [];
  const rounds = await measureRounds(named("a", "b", "c"), named("up", "down"), 2, (scenario, kind) => {
    if (scenario.name === "down" && kind.name === "b") return Promise.resolve(undefined);
    met.push(`${scenario.name} ${kind.name}`);
    return Promise.resolve({ [scenario.name]: met.length });
  }, () => {});
  assert.deepEqual(met, [
    ...["up a", "up b", "up c", "down a", "down c"],
    ...["up b", "up c", "up a", "down c", "down a"],
  ]);
  assert.deepEqual(rounds[1], { a: { up: 8, down: 10 }, b: { up: 6 }, c: { up: 7, down: 9 } });
});
