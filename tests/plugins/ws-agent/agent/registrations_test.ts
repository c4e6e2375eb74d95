import assert from "node:assert/strict";
import { Refused } from "../../../../plugins/ws-agent/agent/control_channel.ts";
import { Registrations } from "../../../../plugins/ws-agent/agent/registrations.ts";
import type { Clock } from "../../../../plugins/ws-agent/clock.ts";
import type { RegisterService, ServiceRegistered } from "../../../../plugins/ws-agent/control/messages.ts";
import { until } from "../../../support/until.ts";
import { service } from "./fake_gateway.ts";

/** Time that the test moves: each wait is written down, and ends when the test says so. */
function stillClock() {
  const waits: { readonly ms: number; readonly end: () => void }[] = [];
  const clock: Clock = {
    monotonic: () => 0,
    wall: () => 0,
    after(ms, task) {
      waits.push({ ms, end: task });
      return () => {};
    },
    every: () => () => {},
  };
  return { clock, waits };
}

function setUp(
  answer: (service: RegisterService) => ServiceRegistered | Refused | Promise<ServiceRegistered>,
) {
  const { clock, waits } = stillClock();
  const log: string[] = [];
  const control = {
    register: async (asked: RegisterService) => {
      log.push(`register ${asked.name}`);
      const result = await answer(asked);
      if (result instanceof Refused) throw result;
      return result;
    },
    unregister: (id: string) => void log.push(`unregister ${id}`),
  };
  const registrations = new Registrations(control, {
    settings: { reconnect: { minMs: 500, maxMs: 60_000 } },
    clock,
    random: () => 1,
    events: {
      registered: ({ name }) => void log.push(`registered ${name}`),
      refused: ({ name }, reason, retryMs) => void log.push(`refused ${name}: ${reason}, ${retryMs}`),
    },
  });
  return { registrations, log, waits };
}

/** Never aborted. */
const forEver = new AbortController().signal;

function granted({ name }: RegisterService): ServiceRegistered {
  return { serviceId: `id-${name}`, name, url: "" };
}

Deno.test("a refused service is asked for with growing waits, until it is registered", async () => {
  let refusals = 3;
  const { registrations, log, waits } = setUp((asked) =>
    refusals-- > 0 ? new Refused("registerFail", { word: "held", text: "It is" }) : granted(asked)
  );
  await registrations.use([service("a", 1)]);
  for (let i = 0; i < 3; i++) {
    const wait = await until(() => waits[i], { what: "a wait" });
    wait.end();
  }
  await until(() => log.at(-1) === "registered a", { what: "the registration" });
  assert.deepEqual(waits.map(({ ms }) => ms), [1000, 2000, 4000]);
  assert.equal(await registrations.find("id-a", forEver).then((found) => found?.name), "a");
  registrations.close();
});

Deno.test("a service that goes while its answer is on its way is given back", async () => {
  const { promise, resolve } = Promise.withResolvers<ServiceRegistered>();
  const { registrations, log } = setUp(() => promise);
  const used = registrations.use([service("a", 1)]);
  await registrations.use([]);
  resolve({ serviceId: "id-a", name: "a", url: "" });
  await used;
  assert.deepEqual(log, ["register a", "unregister id-a"]);
});

Deno.test("a stream that comes before the answer about its service waits for it", async () => {
  const { promise, resolve } = Promise.withResolvers<ServiceRegistered>();
  const { registrations } = setUp(() => promise);
  const used = registrations.use([service("a", 1)]);
  const found = registrations.find("id-a", forEver), unknown = registrations.find("id-b", forEver);
  resolve({ serviceId: "id-a", name: "a", url: "" });
  assert.equal((await found)?.name, "a");
  assert.equal(await unknown, undefined);
  await used;
});

Deno.test("a stream that is gone waits no longer, though the gateway never answers", async () => {
  const { registrations } = setUp(() => new Promise(() => {}));
  void registrations.use([service("a", 1)]);
  const gone = new AbortController();
  const found = registrations.find("id-a", gone.signal);
  gone.abort();
  assert.equal(await found, undefined);
  assert.equal(await registrations.find("id-a", gone.signal), undefined);
  registrations.close();
});

Deno.test("the end of the connection ends what waits", async () => {
  const { registrations, waits } = setUp(() => new Refused("registerFail", { word: "held", text: "It is" }));
  await registrations.use([service("a", 1)]);
  await until(() => waits.length === 1, { what: "a wait" });
  registrations.close();
  assert.equal(await registrations.find("id-a", forEver), undefined);
});

Deno.test("a service whose public side changes is another one", async () => {
  const { registrations, log } = setUp(granted);
  await registrations.use([service("a", 1)]);
  await registrations.use([service("a", 2)]);
  await registrations.use([service("a", 2, { remotePort: 5 })]);
  assert.deepEqual(log, ["register a", "registered a", "unregister id-a", "register a", "registered a"]);
  registrations.close();
});
