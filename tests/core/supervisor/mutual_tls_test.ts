import assert from "node:assert/strict";
import { NO_PERMISSIONS } from "../../../core/config/permissions.ts";
import type { PlaneMethods } from "../../../core/data_plane/methods.ts";
import type { ProofFault } from "../../../core/data_plane/self_test.ts";
import { createLog, type LogEvent } from "../../../core/log.ts";
import type { Rpc } from "../../../core/rpc.ts";
import { MutualTlsProof } from "../../../core/supervisor/mutual_tls.ts";
import type { CheckedPlugin } from "../../../core/supervisor/plugins.ts";

const OPEN: ProofFault = { kind: "open", name: "db.example.com", reason: "somebody was let in" };
const UNPROVEN: ProofFault = { kind: "unproven", name: "db.example.com", reason: "who knows" };

function plugin(name: string, mutualTls?: readonly string[]): CheckedPlugin {
  return {
    name,
    module: "",
    isolation: "worker",
    config: {},
    traits: { routeTimeoutMs: 1, ...(mutualTls && { mutualTls }) },
    files: {},
    watched: [],
    permissions: NO_PERMISSIONS,
  };
}

/** Asks a data plane that answers with `fault`, of a plugin that is in these lives before and after. */
async function ask(fault: ProofFault | undefined, lives: readonly (number | undefined)[], lenient = false) {
  const events: LogEvent[] = [];
  const calls: unknown[][] = [];
  const call = (...args: unknown[]) => {
    calls.push(args);
    return Promise.resolve(fault);
  };
  const worker = {
    get up() {
      return lives[calls.length] !== undefined;
    },
    get generation() {
      return lives[calls.length] ?? 0;
    },
  };
  const proof = new MutualTlsProof({
    log: createLog("test", "info", (event) => events.push(event)),
    plugins: [plugin("static"), plugin("strict", ["db.example.com"]), plugin("none", [])],
    pluginUnits: new Map([["strict", { worker }]]),
  });
  await proof.of({ call } as unknown as Rpc<PlaneMethods>, { lenient });
  return { events: events.map(({ level, event, fields }) => [level, event, fields.reason]), calls };
}

Deno.test("a proof is asked for of the plugins that name something, and of no other", async () => {
  const { events, calls } = await ask(undefined, [1, 1]);
  assert.deepEqual(events, []);
  const [[method, name, names, rogue] = []] = calls;
  assert.deepEqual([calls.length, method, name, names], [1, "proveMutualTls", "strict", ["db.example.com"]]);
  assert.match(JSON.stringify(rogue), /BEGIN CERTIFICATE.*BEGIN CERTIFICATE.*BEGIN PRIVATE KEY/);
});

for (
  const { name, fault, lives, lenient = false, warned } of [
    { name: "somebody got in", fault: OPEN, lives: [1, 1], warned: undefined },
    {
      name: "somebody got in, and then the plugin died",
      fault: OPEN,
      lives: [1, undefined],
      warned: undefined,
    },
    {
      name: "somebody got in at a data plane that was started anew",
      fault: OPEN,
      lives: [1, 1],
      lenient: true,
      warned: undefined,
    },
    { name: "there is no proof", fault: UNPROVEN, lives: [1, 1], warned: undefined },
    {
      name: "the plugin is down",
      fault: UNPROVEN,
      lives: [undefined, undefined],
      warned: "the plugin is down",
    },
    {
      name: "the plugin died meanwhile",
      fault: UNPROVEN,
      lives: [1, undefined],
      warned: "the plugin is down",
    },
    {
      name: "the plugin died meanwhile and is back",
      fault: UNPROVEN,
      lives: [1, 2],
      warned: "the plugin is down",
    },
    {
      name: "there is no proof at a data plane that was started anew",
      fault: UNPROVEN,
      lives: [1, 1],
      lenient: true,
      warned: "who knows",
    },
  ] as const
) {
  Deno.test(`a gateway ${warned ? "serves with a warning" : "does not serve"} when ${name}`, async () => {
    const asked = ask(fault, lives, lenient);
    if (warned === undefined) await assert.rejects(asked, { code: "mutual-tls-unproven" });
    else assert.deepEqual((await asked).events, [["warn", "mutual_tls_unproven", warned]]);
  });
}
