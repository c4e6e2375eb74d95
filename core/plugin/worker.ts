/// <reference lib="deno.worker" />
import { flushLogBatches, type LogBatchMethods, openLogBatch } from "../log_batch.ts";
import type { LogLevel } from "../log.ts";
import { type MessageChannelEnd, type Methods, openRpc, type Rpc } from "../rpc.ts";
import { sealCode } from "../seal.ts";
import { LazySignal, type PluginHooks, type PluginMethods } from "./host.ts";
import { type PluginReport, RunningPlugin } from "./running.ts";

/** What the supervisor asks of an isolated plugin's worker. */
export interface PluginWorkerMethods extends Methods {
  start(plugin: {
    readonly name: string;
    readonly module: string;
    readonly config: unknown;
    readonly logLevel: LogLevel;
    /** Folders that may be read only until the module is loaded; its `start` may not any more. */
    readonly codeFolders: readonly string[];
  }): Promise<PluginHooks>;
  /** Takes a port to a data plane. */
  connect(port: MessagePort): void;
  reload(config: unknown): Promise<void>;
  report(): Promise<PluginReport>;
  stop(): Promise<void>;
  ping(): void;
}

const supervisor: Rpc<LogBatchMethods> = openRpc(
  self as unknown as MessageChannelEnd,
  {
    async start({ name, module, config, logLevel, codeFolders }) {
      const log = openLogBatch(`plugin:${name}`, logLevel, supervisor);
      running = await RunningPlugin.start(module, name, config, log, undefined, () => sealCode(codeFolders));
      return { dialed: running.plugin.dialed !== undefined, closed: running.plugin.closed !== undefined };
    },
    connect: (port) => void openRpc(port as MessageChannelEnd, forDataPlane()),
    reload: (config) => started().reload(config),
    report: () => started().report(),
    async stop() {
      await running?.[Symbol.asyncDispose]();
      flushLogBatches();
    },
    ping: () => {},
  } satisfies PluginWorkerMethods,
);

let running: RunningPlugin | undefined;

function started(): RunningPlugin {
  if (running === undefined) throw new TypeError("The plugin has not been started");
  return running;
}

function forDataPlane(): PluginMethods {
  const asked = new Map<string, LazySignal>();
  return {
    async route(connection) {
      const scope = new LazySignal();
      asked.set(connection.id, scope);
      try {
        return await started().plugin.route(connection, scope);
      } finally {
        asked.delete(connection.id);
      }
    },
    cancel: (connection) => asked.get(connection)?.abort(),
    dialed: (event) => started().plugin.dialed?.(event),
    closed: (event) => started().plugin.closed?.(event),
  };
}
