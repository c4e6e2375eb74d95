import assert from "node:assert/strict";
import type { PlaneMethods } from "../../../core/data_plane/methods.ts";
import type { CancelTarget } from "../../../core/data_plane/postgres_cancel.ts";
import { type MessageChannelEnd, openRpc, type Rpc } from "../../../core/rpc.ts";
import { findAmong } from "../../../core/supervisor/find_cancel.ts";

const KEY = { processId: 4711, secret: Uint8Array.of(1, 2, 3, 4) };
const TARGET: CancelTarget = {
  forward: { kind: "forward", to: "10.0.0.5:5432", tlvs: [{ type: 0xe1, value: Uint8Array.of(7) }] },
};

type Answer = () => CancelTarget | undefined | Promise<CancelTarget | undefined>;

/** Data planes behind real ports, each of which answers as given; `undefined` is one that is down. */
function planes(...answers: readonly (Answer | undefined)[]) {
  const ports: MessagePort[] = [];
  const all = answers.map((answer) => {
    if (answer === undefined) return { rpc: undefined };
    const { port1, port2 } = new MessageChannel();
    ports.push(port1, port2);
    openRpc(port2 as MessageChannelEnd, {
      findCancel(key: unknown) {
        assert.deepEqual(key, KEY);
        return answer();
      },
    });
    return { rpc: openRpc(port1 as MessageChannelEnd, {}) as unknown as Rpc<PlaneMethods> };
  });
  return { all, [Symbol.dispose]: () => ports.forEach((port) => port.close()) };
}

const silent: Answer = () => new Promise(() => {});
const unknown: Answer = () => undefined;
const failing: Answer = () => Promise.reject(new Error("broken"));

for (
  const { name, answers, found } of [
    { name: "no other plane", answers: [], found: undefined },
    { name: "one that knows", answers: [unknown, () => TARGET], found: TARGET },
    { name: "one that knows beside one that hangs", answers: [silent, () => TARGET], found: TARGET },
    { name: "one that knows beside one that is down", answers: [undefined, () => TARGET], found: TARGET },
    {
      name: "none that knows, one of them failing and one down",
      answers: [unknown, failing, undefined],
      found: undefined,
    },
  ]
) {
  Deno.test(`among ${name}, ${found ? "the session" : "nothing"} is found`, async () => {
    using others = planes(...answers);
    assert.deepEqual(await findAmong(others.all, KEY), found);
  });
}

Deno.test("a plane that ends while it is asked knows nothing", async () => {
  using others = planes(silent);
  const finding = findAmong(others.all, KEY);
  others.all[0]?.rpc?.close("it has died");
  assert.equal(await finding, undefined);
});
