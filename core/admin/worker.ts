/// <reference lib="deno.worker" />
import type { AdminMethods } from "../data_plane/snapshot.ts";
import { messageOf } from "../errors.ts";
import { flushLogBatches, type LogBatchMethods, openLogBatch } from "../log_batch.ts";
import { type MessageChannelEnd, openRpc, type Rpc } from "../rpc.ts";
import type { AdminSettings } from "./contract.ts";
import { type AdminServer, startAdmin } from "./server.ts";

/*
 * The entry of the admin worker. The supervisor starts it with `adminPermissions()` and speaks `core/rpc.ts` with
 * it: it calls `AdminWorkerMethods` here, and answers `AdminMethods`. Events come back as `log` notifications.
 */

let server: AdminServer | undefined;

const supervisor: Rpc<AdminMethods & LogBatchMethods> = openRpc(self as unknown as MessageChannelEnd, {
  start(settings: AdminSettings) {
    if (server !== undefined) throw new TypeError("The admin side is started already");
    log = openLogBatch("admin", settings.logLevel ?? "debug", supervisor);
    server = startAdmin(settings, gatewayOver(supervisor), log);
    return server.address;
  },
  reload(settings: Pick<AdminSettings, "token">) {
    if (server === undefined) throw new TypeError("The admin side is not started");
    server.reload(settings);
  },
  async stop() {
    const stopping = server;
    server = undefined;
    await stopping?.stop();
    flushLogBatches();
  },
  ping() {},
});

let log = openLogBatch("admin", "debug", supervisor);

/** A rejection that nobody waits for would end the worker, and with it every request in progress. */
self.addEventListener("unhandledrejection", (event) => {
  event.preventDefault();
  log.error("unhandled_rejection", { error: messageOf(event.reason) });
});

function gatewayOver(rpc: Rpc<AdminMethods>): AdminMethods {
  return {
    status: (tunnels) => rpc.call("status", tunnels),
    readiness: () => rpc.call("readiness"),
    metrics: () => rpc.call("metrics"),
    connections: (limit, filter) => rpc.call("connections", limit, filter),
    closeConnection: (id) => rpc.call("closeConnection", id),
    tunnels: (limit, filter) => rpc.call("tunnels", limit, filter),
    closeTunnel: (id) => rpc.call("closeTunnel", id),
    routes: () => rpc.call("routes"),
    live: (after) => rpc.call("live", after),
  };
}
