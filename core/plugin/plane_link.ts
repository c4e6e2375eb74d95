import { type MessageChannelEnd, openRpc } from "../rpc.ts";
import { LazySignal, type PlaneServices, type PluginMethods } from "./host.ts";
import type { RunningPlugin } from "./running.ts";

/** A plugin's end of the way to one data plane. */
export interface PlaneLink {
  endConnection(connection: string, result: string): void;
  /** The data plane has crashed: the plugin hears that its connections have ended. */
  lost(): void;
}

/** Lets a data plane ask the plugin over `port`. */
export function openPlaneLink(port: MessagePort, running: RunningPlugin): PlaneLink {
  const asked = new Map<string, LazySignal>();
  /** What was decided on and has not ended, so that every decision has its end, and one only. */
  const open = new Set<string>();
  let isLost = false;
  const tellLost = (connection: string) =>
    void running.closed({ connection, bytesIn: 0, bytesOut: 0, ms: 0, result: "plane_lost" });
  const methods: PluginMethods = {
    async route(connection) {
      const scope = new LazySignal();
      asked.set(connection.id, scope);
      try {
        const { plugin } = running;
        const decision = await plugin.route(connection, scope);
        if (decision !== undefined && plugin.closed !== undefined) {
          if (isLost) tellLost(connection.id);
          else open.add(connection.id);
        }
        return decision;
      } finally {
        asked.delete(connection.id);
      }
    },
    cancel: (connection) => asked.get(connection)?.abort(),
    dialed: (event) => running.plugin.dialed?.(event),
    closed(event) {
      if (open.delete(event.connection)) void running.closed(event);
    },
    adopt(connections) {
      for (const { id } of connections) open.add(id);
      running.plugin.adopt?.(connections);
    },
  };
  const plane = openRpc<PlaneServices>(port as MessageChannelEnd, methods);
  return {
    endConnection: (connection, result) => plane.notify("endConnection", connection, result),
    lost() {
      plane.close("The data plane has crashed");
      port.close();
      for (const scope of asked.values()) scope.abort();
      isLost = true;
      for (const connection of open) tellLost(connection);
      open.clear();
    },
  };
}
