import assert from "node:assert/strict";
import { MessageBudget } from "../../../../plugins/ws-agent/session/message_budget.ts";

function takeAll(budget: MessageBudget, now: number): number {
  let taken = 0;
  while (budget.take(now) && taken < 1_000_000) taken++;
  return taken;
}

Deno.test("an agent may register and take back everything at once, and then so many a second", () => {
  const budget = new MessageBudget(50);
  assert.equal(takeAll(budget, 0), 200);
  assert.equal(takeAll(budget, 0), 0);
  assert.equal(takeAll(budget, 1000), 20);
  assert.equal(takeAll(budget, 3_600_000), 200);
});
