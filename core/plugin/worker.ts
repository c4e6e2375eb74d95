/// <reference lib="deno.worker" />
import { flushLogBatches, type LogBatchMethods, openLogBatch } from "../log_batch.ts";
import type { LogLevel } from "../log.ts";
import { type MessageChannelEnd, type Methods, openRpc, type Rpc } from "../rpc.ts";
import { sealCode } from "../seal.ts";
import type { PluginFiles } from "./contract.ts";
import type { PluginHooks } from "./host.ts";
import { openPlaneLink, type PlaneLink } from "./plane_link.ts";
import { type PluginReport, RunningPlugin } from "./running.ts";

/** What the supervisor asks of an isolated plugin's worker. */
export interface PluginWorkerMethods extends Methods {
  start(plugin: {
    readonly name: string;
    readonly module: string;
    readonly config: unknown;
    readonly files: PluginFiles;
    readonly logLevel: LogLevel;
    /** Folders that may be read only until the module is loaded; its `start` may not any more. */
    readonly codeFolders: readonly string[];
  }): Promise<PluginHooks>;
  /** Takes a port to a data plane. One of the same name is gone then. */
  connect(plane: string, port: MessagePort): void;
  /** A data plane has crashed. */
  planeLost(plane: string): void;
  reload(config: unknown, files: PluginFiles): Promise<void>;
  report(): Promise<PluginReport>;
  stop(): Promise<void>;
  ping(): void;
}

const supervisor: Rpc<LogBatchMethods> = openRpc(
  self as unknown as MessageChannelEnd,
  {
    async start({ name, module, config, files, logLevel, codeFolders }) {
      const log = openLogBatch(`plugin:${name}`, logLevel, supervisor);
      const context = { name, log, files, endConnection };
      running = await RunningPlugin.start(module, config, context, { loaded: () => sealCode(codeFolders) });
      const { dialed, closed, adopt } = running.plugin;
      return { dialed: dialed !== undefined, closed: closed !== undefined, adopt: adopt !== undefined };
    },
    connect(plane, port) {
      planes.get(plane)?.lost();
      planes.set(plane, openPlaneLink(port, started()));
    },
    planeLost(plane) {
      planes.get(plane)?.lost();
      planes.delete(plane);
    },
    reload: (config, files) => started().reload(config, files),
    report: () => started().report(),
    async stop() {
      await running?.[Symbol.asyncDispose]();
      flushLogBatches();
    },
    ping: () => {},
  } satisfies PluginWorkerMethods,
);

let running: RunningPlugin | undefined;
const planes = new Map<string, PlaneLink>();

/** Every data plane is told: the one that has the connection ends it, and the others know nothing of it. */
function endConnection(connection: string, result: string): void {
  for (const plane of planes.values()) plane.endConnection(connection, result);
}

function started(): RunningPlugin {
  if (running === undefined) throw new TypeError("The plugin has not been started");
  return running;
}
