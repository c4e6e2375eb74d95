/// <reference lib="deno.worker" />
import "./no_environment.ts"; // before the library, which is loaded by the directory
import { flushLogBatches, type LogBatchMethods, openLogBatch } from "../log_batch.ts";
import { type MessageChannelEnd, openRpc, type Rpc } from "../rpc.ts";
import { AcmeCache } from "./cache.ts";
import type { AcmeQuestions, AcmeSettings, AcmeState, AcmeWorkerMethods, WantedName } from "./contract.ts";
import { AcmeDirectory } from "./directory.ts";
import { Keeper } from "./keeper.ts";
import { dnsSolver, httpSolver } from "./solvers.ts";

/*
 * The entry of the worker that asks for certificates. The supervisor starts it with `acmePermissions()`: the directory,
 * the webhook, and the folder of the cache.
 */

/** One set of settings at work. */
interface Running {
  readonly keeper: Keeper;
  readonly directory: AcmeDirectory;
}

let running: Running | undefined;
/** One after another: the last settings are to be those that hold. */
let reloading: Promise<void> = Promise.resolve();
let wanted: readonly WantedName[] = [];
/** What the supervisor knows of. */
let told: AcmeState["certificates"] = [];
const supervisor: Rpc<AcmeQuestions & LogBatchMethods> = openRpc(
  self as unknown as MessageChannelEnd,
  {
    async start(settings, logLevel) {
      log = openLogBatch("acme", logLevel, supervisor);
      running = await open(settings);
      const state = running.keeper.state();
      told = state.certificates;
      return state;
    },
    reload(settings) {
      const mine = reloading.catch(() => {}).then(() => replace(settings));
      reloading = mine;
      return mine;
    },
    want(names) {
      wanted = names;
      running?.keeper.want(names);
    },
    stop() {
      close();
      flushLogBatches();
    },
    ping() {},
  } satisfies AcmeWorkerMethods,
);

let log = openLogBatch("acme", "info", supervisor);

async function replace(settings: AcmeSettings): Promise<void> {
  const fresh = await open(settings);
  close();
  running = fresh;
  tell(fresh.keeper.state());
  fresh.keeper.want(wanted);
}

async function open({ cache: folder, ...settings }: AcmeSettings): Promise<Running> {
  const cache = await AcmeCache.open(folder, settings.directory, log);
  const solvers = {
    "http-01": httpSolver({
      present: (token, keyAuthorization) => supervisor.call("acmePresent", token, keyAuthorization),
      withdraw: (token) => supervisor.notify("acmeWithdraw", token),
    }),
    ...(settings.dns01 && { "dns-01": dnsSolver(settings.dns01) }),
  };
  const directory = new AcmeDirectory(settings, { cache, solvers, log });
  const keeper: Keeper = new Keeper({
    cache,
    orderer: directory,
    log,
    changed: (state) => {
      if (running?.keeper === keeper) tell(state);
    },
  });
  try {
    await keeper.load();
    return { keeper, directory };
  } catch (error) {
    end({ keeper, directory });
    throw error;
  }
}

/** Keys are copied to the supervisor when there are others, and not whenever a name comes or goes. */
function tell({ certificates, ...state }: AcmeState): void {
  const isSame = certificates.length === told.length && certificates.every((one, i) => one === told[i]);
  told = certificates;
  supervisor.notify("acmeChanged", isSame ? state : { ...state, certificates });
}

function close(): void {
  if (running !== undefined) end(running);
  running = undefined;
}

function end({ keeper, directory }: Running): void {
  keeper[Symbol.dispose]();
  directory[Symbol.dispose]();
}
