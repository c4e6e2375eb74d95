import assert from "node:assert/strict";
import { until } from "../support/until.ts";

Deno.test("until() resolves to the first truthy value", async () => {
  let calls = 0;
  assert.equal(await until(() => ++calls === 3 && "third", { what: "the third call" }), "third");
});

Deno.test("until() says what it waited for", async () => {
  await assert.rejects(until(() => false, { deadlineMs: 5, what: "a miracle" }), /5 ms for a miracle/);
});

Deno.test("until() passes on what the condition throws", async () => {
  const broken = () => {
    throw new RangeError("broken");
  };
  await assert.rejects(until(broken, { what: "nothing" }), RangeError);
});
