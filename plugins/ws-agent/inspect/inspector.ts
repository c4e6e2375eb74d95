import type { DialTarget, RequestInspector } from "../agent/serve_agent.ts";
import type { InspectAt } from "../agent/worker_methods.ts";
import { ExchangeLog } from "./exchange_log.ts";
import { ExchangeTap } from "./exchange_tap.ts";
import { serveInspector } from "./page/server.ts";
import { Replayer } from "./replay.ts";

/**
 * Shows the last requests of an agent on a page of this machine.
 *
 * @param dial Connects to a service's target, for replays.
 * @throws {GatewayError} `address-in-use`, `permission-denied`, `listen-failed`.
 */
export function startInspector(at: InspectAt, dial: DialTarget): RequestInspector {
  const log = new ExchangeLog();
  const now = () => performance.now();
  const replayer = new Replayer({
    log,
    dial: ({ service, header }, signal) => dial(service, header, signal),
    now,
  });
  const page = serveInspector(at, { log, replayer });
  return {
    address: page.address,
    inspect: (service, header) => new ExchangeTap({ log, origin: { service, header }, now }),
    async close() {
      await replayer.close();
      await page.close();
    },
  };
}
