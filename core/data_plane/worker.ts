/// <reference lib="deno.worker" />
import { flushLogBatches, type LogBatchMethods, openLogBatch } from "../log_batch.ts";
import type { PlaneContext } from "../plugin/plane_context.ts";
import { InlineHandle, RemoteHandle } from "../plugin/host.ts";
import { loadPlugin, type PluginReport, RunningPlugin } from "../plugin/running.ts";
import { RegistryReplica } from "../registry/replica.ts";
import { type MessageChannelEnd, openRpc, type Rpc } from "../rpc.ts";
import { sealCode } from "../seal.ts";
import { DataPlane } from "./data_plane.ts";
import { proveMutualTls } from "./self_test.ts";
import { openTraces } from "./traces.ts";
import { tunnelsOf } from "./tunnels.ts";
import type { PlaneMethods, PlanePlugin, PlaneQuestions } from "./methods.ts";
import type { PlaneIdentity } from "./settings.ts";
import type { LogLevel } from "../log.ts";

let plane: DataPlane | undefined;
let identity: PlaneIdentity | undefined;
let logLevel: LogLevel = "info";
const inline = new Map<string, RunningPlugin>();
const remote = new Map<string, RemoteHandle>();
const registries = new Map<string, RegistryReplica>();

function started(): DataPlane {
  if (plane === undefined) throw new TypeError("The data plane has not been started");
  return plane;
}

const supervisor: Rpc<LogBatchMethods & PlaneQuestions> = openRpc(
  self as unknown as MessageChannelEnd,
  {
    async start(born, settings) {
      identity = born;
      logLevel = born.logLevel;
      plane = new DataPlane(
        born,
        settings,
        openLogBatch(born.node, logLevel, supervisor),
        (key) => supervisor.call("findCancel", key),
        await openTraces(),
      );
    },
    usePlugins: (plugins, codeFolders) =>
      turns = turns.catch(() => {}).then(() => usePlugins(plugins, codeFolders)),
    connectPlugin: (name, port, hooks) =>
      remote.get(name)?.connect(port, hooks, servicesFor(name), started().openOf(name)),
    disconnectPlugin: (name) => remote.get(name)?.disconnect(),
    configure: (settings) => started().configure(settings),
    useAcme: (acme) => started().useAcme(acme),
    proveMutualTls: (plugin, names, rogue) => proveMutualTls(started(), plugin, names, rogue),
    listen: (listener) => started().listeners.listen(listener),
    listenForPlanes: () => started().listeners.listenForPlanes(),
    registryEvents: (plugin, events) => registryOf(plugin).apply(events),
    holdDecisions: () => started().router.hold(),
    releaseDecisions: () => started().router.release(),
    async report() {
      const told = [...inline].map(async ([name, running]): Promise<[string, PluginReport]> => {
        return [name, await running.report()];
      });
      const plugins = Object.fromEntries(await Promise.all(told));
      return { open: started().size, metrics: started().snapshot(), plugins };
    },
    rows: (limit, filter) => started().rows(limit, filter),
    closeConnection: (id) => started().closeConnection(id),
    tunnels: (limit, filter) => tunnelsOf(inline, limit, filter),
    closeTunnel: (id) => [...inline.values()].some((running) => running.closeTunnel(id)),
    findCancel: (key) => started().cancels.keys.find(key),
    stopAccepting() {
      void started().listeners.stop();
      for (const running of inline.values()) running.drain();
    },
    whenEmpty: () => started().whenEmpty(),
    async stop() {
      await plane?.close();
      for (const running of inline.values()) await running[Symbol.asyncDispose]();
      for (const handle of remote.values()) handle.disconnect();
      flushLogBatches();
    },
    ping: () => {},
  } satisfies PlaneMethods,
);

function servicesFor(plugin: string) {
  return {
    endConnection: (connection: string, result: string) => started().endForPlugin(plugin, connection, result),
  };
}

function registryOf(plugin: string): RegistryReplica {
  let registry = registries.get(plugin);
  if (registry === undefined) {
    registry = new RegistryReplica(identity?.node ?? "", {
      open: (session) => supervisor.call("registryOpen", plugin, session),
      claim: (...claim) => supervisor.call("registryClaim", plugin, ...claim),
      release: (session, key) => supervisor.call("registryRelease", plugin, session, key),
      close: (session, graceMs) => supervisor.call("registryClose", plugin, session, graceMs),
    });
    registries.set(plugin, registry);
  }
  return registry;
}

function planeFor(plugin: string): PlaneContext {
  return {
    node: identity?.node ?? "",
    nodes: identity?.nodes ?? 1,
    isFirst: identity?.index === 0,
    get neighbours() {
      return started().neighbours?.others ?? [];
    },
    get ports() {
      return started().listeners.ports;
    },
    get httpsPort() {
      return started().settings.httpsPort;
    },
    registry: registryOf(plugin),
    listen: (address) => started().listeners.listenFor(plugin, address),
    listenDatagrams: (address) => started().datagrams.listen(address),
    openOn: (node, purpose, connection) => started().openOn(plugin, node, purpose, connection),
    ...(started().traces && {
      trace: (connection, name, ...more) => started().trace(connection, name, ...more),
    }),
  };
}

/** Changes of the plugins, one after another. */
let turns: Promise<void> = Promise.resolve();

/** All code is loaded, and the leave to read it gone, before any of it goes to work. */
async function usePlugins(plugins: readonly PlanePlugin[], codeFolders: readonly string[]): Promise<void> {
  for (const plugin of plugins) {
    if (plugin.isolation === "inline" && !inline.has(plugin.name)) {
      await loadPlugin(plugin.name, plugin.module);
    }
  }
  await sealCode(codeFolders);
  const handles = [];
  for (const plugin of plugins) handles.push(await usePlugin(plugin));
  started().usePlugins(handles);
}

async function usePlugin(plugin: PlanePlugin) {
  const { name, traits } = plugin;
  if (plugin.isolation === "worker") {
    const handle = remote.get(name) ?? new RemoteHandle(name);
    handle.configure(traits);
    remote.set(name, handle);
    return handle;
  }
  const running = inline.get(name);
  if (running) {
    await running.reload(plugin.config, plugin.files);
    return new InlineHandle(name, traits, running);
  }
  const log = openLogBatch(`plugin:${name}`, logLevel, supervisor);
  const context = { name, log, files: plugin.files, plane: planeFor(name), ...servicesFor(name) };
  const fresh = await RunningPlugin.start(plugin.module, plugin.config, context);
  inline.set(name, fresh);
  return new InlineHandle(name, traits, fresh);
}
