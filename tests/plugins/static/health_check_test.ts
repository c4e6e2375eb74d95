import assert from "node:assert/strict";
import { HealthCheck } from "../../../plugins/static/health_check.ts";
import { Target } from "../../../plugins/static/target.ts";
import { FakeTools, settle } from "./fake_tools.ts";

const CONFIG = { intervalMs: 5000, timeoutMs: 2000, unhealthyAfter: 2, healthyAfter: 2 };

function checked(tools: FakeTools, config = CONFIG) {
  const target = new Target("a:1");
  const changes: string[] = [];
  const check = new HealthCheck(target, config, tools, (target, failure) => {
    changes.push(`${target.healthy ? "up" : "down"} ${failure ?? ""}`.trim());
  });
  return { target, check, changes };
}

Deno.test("checks at once, and then at each interval", async () => {
  const tools = new FakeTools();
  await using _check = checked(tools).check;
  assert.equal(tools.checks.length, 1);
  await settle();
  await tools.pass(4999);
  assert.equal(tools.checks.length, 1);
  await tools.pass(1);
  assert.equal(tools.checks.length, 2);
  await tools.pass(10_000);
  assert.equal(tools.checks.length, 4);
});

Deno.test("takes a target out after failures in a row, brings it back after successes in a row, tells each once", async () => {
  const tools = new FakeTools();
  tools.dead.add("a:1");
  const { target, check, changes } = checked(tools);
  await using _check = check;
  await settle();
  assert.equal(target.healthy, true);
  await tools.pass(5000);
  assert.equal(target.healthy, false);
  await tools.pass(20_000);
  tools.dead.clear();
  await tools.pass(5000);
  assert.equal(target.healthy, false);
  await tools.pass(5000);
  assert.equal(target.healthy, true);
  assert.deepEqual(changes, ["down Connection refused", "up"]);
});

Deno.test("no answer in time is a failure", async () => {
  const tools = new FakeTools();
  tools.silent.add("a:1");
  const { check, changes } = checked(tools, { ...CONFIG, unhealthyAfter: 1 });
  await using _check = check;
  await tools.pass(1999);
  assert.deepEqual(changes, []);
  await tools.pass(1);
  assert.deepEqual(changes, ["down No answer in 2000 ms"]);
});

Deno.test("checks of one target never overlap, not even when they take longer than the interval", async () => {
  const tools = new FakeTools();
  tools.silent.add("a:1");
  await using _check = checked(tools, { ...CONFIG, intervalMs: 1000, timeoutMs: 3000 }).check;
  for (let second = 1; second <= 12; second++) {
    await tools.pass(1000);
    assert.ok(tools.waiting <= 1, `${tools.waiting} checks at once`);
  }
  assert.equal(tools.checks.length, 5);
});

Deno.test("a client's failed attempt leads to a check at once, which decides", async () => {
  const tools = new FakeTools();
  const { target, check } = checked(tools, { ...CONFIG, unhealthyAfter: 1 });
  await using _check = check;
  await settle();
  for (let i = 0; i < 5; i++) {
    check.suspect();
    await settle();
  }
  assert.equal(tools.checks.length, 6);
  assert.equal(target.healthy, true, "clients alone took it out");
  tools.dead.add("a:1");
  check.suspect();
  await settle();
  assert.equal(target.healthy, false);
});

Deno.test("attempts that fail together lead to one check at a time", async () => {
  const tools = new FakeTools();
  tools.silent.add("a:1");
  await using check = checked(tools).check;
  for (let i = 0; i < 100; i++) check.suspect();
  assert.equal(tools.checks.length, 1);
  await tools.pass(2000);
  assert.equal(tools.checks.length, 2, "the attempts came after the first check had begun");
});

Deno.test("failed attempts lead to no check of a target that is known to be down", async () => {
  const tools = new FakeTools();
  tools.dead.add("a:1");
  const { target, check } = checked(tools, { ...CONFIG, unhealthyAfter: 1 });
  await using _check = check;
  await settle();
  assert.equal(target.healthy, false);
  check.suspect();
  await settle();
  assert.equal(tools.checks.length, 1);
});

Deno.test("clients that get through count as checks that passed", async () => {
  const tools = new FakeTools();
  tools.dead.add("a:1");
  const { target, check } = checked(tools, { ...CONFIG, unhealthyAfter: 1 });
  await using _check = check;
  await settle();
  assert.equal(target.healthy, false);
  check.connected();
  check.connected();
  assert.equal(target.healthy, true);
});

for (const kind of ["silent", "dead", "fine"] as const) {
  Deno.test(`ending leaves no timer and no connection behind, with a target that is ${kind}`, async () => {
    const tools = new FakeTools();
    if (kind !== "fine") tools[kind].add("a:1");
    const { check, changes } = checked(tools, { ...CONFIG, unhealthyAfter: 1 });
    await check[Symbol.asyncDispose]();
    await check[Symbol.asyncDispose]();
    tools.assertNothingLeft();
    check.suspect();
    check.connected();
    await tools.pass(60_000);
    assert.equal(tools.checks.length, 1);
    assert.deepEqual(changes, [], "it told something after its end");
  });
}
