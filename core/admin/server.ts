import { LogOnce } from "../data_plane/log_once.ts";
import type { AdminMethods } from "../data_plane/snapshot.ts";
import { GatewayError, messageOf } from "../errors.ts";
import type { Log } from "../log.ts";
import { formatHostPort, isLoopback } from "../net/address.ts";
import { Access } from "./access.ts";
import { type AdminApp, adminApp } from "./api.ts";
import type { AdminSettings, BoundAddress } from "./contract.ts";
import { HostGuard } from "./host_guard.ts";
import { LastingServer } from "./lasting_server.ts";
import { LiveHub } from "./live_hub.ts";
import { Sessions } from "./sessions.ts";
import { TokenGate } from "./token_gate.ts";

/** The admin side, listening. */
export interface AdminServer {
  readonly address: BoundAddress;
  /** Asks for another token from now on. Throws `GatewayError` (`config-invalid`), and then nothing has changed. */
  reload(settings: Pick<AdminSettings, "token">): void;
  /**
   * Stops listening and resolves when every request in progress is answered, or after a second: whoever ends the
   * thread then closes what is left. May be called again.
   */
  stop(): Promise<void>;
}

type Handler = Deno.ServeHandler<Deno.NetAddr>;

/** Requests at once. A scrape, a dashboard and a few scripts are a handful; each costs the supervisor some work. */
const MAX_IN_FLIGHT = 64;

/** How long {@link AdminServer.stop} waits for the last answers to leave. */
const STOP_GRACE_MS = 1_000;

/**
 * Listens on the admin address.
 *
 * @throws GatewayError `address-in-use`, `permission-denied`, `listen-failed`, or `config-invalid` for an address
 *   that others reach without a token.
 */
export function startAdmin(settings: AdminSettings, gateway: AdminMethods, log: Log): AdminServer {
  checkToken(settings, settings.token);
  const [gate, sessions] = [new TokenGate(settings.token), new Sessions()];
  const live = new LiveHub({ live: (after) => gateway.live(after) });
  const requests = new InFlight();
  const { hostname } = settings;
  let app: AdminApp | undefined = undefined; // needs the port, which is known only when listening
  const handle: Handler = (request, { remoteAddr, completed }) => {
    if (app === undefined || !requests.begin(completed)) return busy();
    return app.fetch(request, { source: remoteAddr.hostname });
  };
  const faults = new LogOnce();
  const server = new LastingServer(listen(settings, log, handle), {
    open: (port) => listen({ hostname, port }, log, handle),
    ended(reason) {
      if (faults.may("")) log.warn("accept_failed", { listener: "admin", reason: messageOf(reason) });
    },
    refused: reportError, // of a worker that may listen on any free port, but on none by number: another takes its place
  });
  const address = { hostname: server.addr.hostname, port: server.addr.port };
  const access = new Access({ gate, sessions, port: address.port });
  app = adminApp(gateway, { access, live, guard: new HostGuard(settings, address), log });
  log.info("admin_listening", { address: formatHostPort({ host: hostname, port: address.port }) });

  let stopped: Promise<void> | undefined;
  return {
    address,
    reload({ token }) {
      checkToken(settings, token);
      if (!gate.replace(token)) return;
      sessions.endAll(); // whoever is to stay knows the new token
      live.closeAll();
    },
    stop() {
      live.stop(); // its streams would never end
      stopped ??= within(STOP_GRACE_MS, server.shutdown());
      return stopped;
    },
  };
}

function listen(
  settings: BoundAddress,
  log: Log,
  handler: Handler,
): Deno.HttpServer<Deno.NetAddr> {
  const { hostname, port } = settings;
  try {
    return Deno.serve({
      hostname,
      port,
      onListen: () => {}, // else it prints
      onError: (error) => { // what a request broke outside the application, which catches its own
        log.error("admin_request_failed", { error: messageOf(error) });
        return new Response(null, { status: 500 });
      },
    }, handler);
  } catch (error) {
    throw listenFault(formatHostPort({ host: hostname, port }), error);
  }
}

function listenFault(address: string, cause: unknown): GatewayError {
  const what = `Cannot listen on "${address}" (admin)`;
  if (cause instanceof Deno.errors.AddrInUse) {
    return new GatewayError(
      "address-in-use",
      `${what}: address in use; stop what holds it or set admin.address`,
      {
        cause,
      },
    );
  }
  if (cause instanceof Deno.errors.NotCapable || cause instanceof Deno.errors.PermissionDenied) {
    return new GatewayError("permission-denied", `${what}: ${messageOf(cause)}; set admin.address`, {
      cause,
    });
  }
  return new GatewayError("listen-failed", `${what}: ${messageOf(cause)}; set admin.address`, { cause });
}

function checkToken({ hostname, port }: AdminSettings, token: string | undefined): void {
  if (token === "") {
    throw new GatewayError(
      "config-invalid",
      "admin.token is empty; set one, or leave it out to ask for none",
    );
  }
  if (token === undefined && !isLoopback(hostname)) {
    throw new GatewayError(
      "config-invalid",
      `admin.address "${
        formatHostPort({ host: hostname, port })
      }" is reached by others and there is no admin.token; ` +
        "set a token, or listen on 127.0.0.1",
    );
  }
}

/** Resolves when `ending` does, and after `ms` in any case: a client that does not read its answer keeps it waiting. */
async function within(ms: number, ending: Promise<void>): Promise<void> {
  const { promise: late, resolve } = Promise.withResolvers<void>();
  const timer = setTimeout(resolve, ms);
  await Promise.race([ending, late]);
  clearTimeout(timer);
}

function busy(): Response {
  return new Response(null, { status: 503, headers: { connection: "close", "retry-after": "1" } });
}

/** Bounds the requests in progress. */
class InFlight {
  #count = 0;

  /** Counts one request in, unless there are too many. @param completed Settles when its answer has left. */
  begin(completed: Promise<void>): boolean {
    if (this.#count >= MAX_IN_FLIGHT) return false;
    this.#count++;
    const end = () => void this.#count--;
    completed.then(end, end);
    return true;
  }
}
