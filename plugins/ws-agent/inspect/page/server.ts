import { HostGuard } from "../../../../core/admin/host_guard.ts";
import { LastingServer } from "../../../../core/admin/lasting_server.ts";
import { formatHostPort, GatewayError, type HostPort, messageOf } from "../../../../core/plugin/mod.ts";
import type { InspectAt } from "../../agent/worker_methods.ts";
import { type InspectorApp, inspectorApp, type InspectorParts } from "./app.tsx";
import { ChangeStreams } from "./change_streams.ts";
import { within } from "./within.ts";

type Handler = Deno.ServeHandler<Deno.NetAddr>;

/** The page, listening. */
export interface InspectorServer {
  readonly address: HostPort;
  /** Stops listening, and ends what goes on. */
  close(): Promise<void>;
}

/** Requests at once. A browser has six, and a few of those wait for changes. */
const MAX_IN_FLIGHT = 64;

/** How long the last answers may take to leave. Whoever ends the thread then closes what is left. */
const STOP_GRACE_MS = 1000;

/**
 * Serves the inspector's page.
 *
 * @throws {GatewayError} `address-in-use`, `permission-denied`, `listen-failed`.
 */
export function serveInspector(
  at: InspectAt,
  parts: Pick<InspectorParts, "log" | "replayer">,
): InspectorServer {
  let app: InspectorApp | undefined = undefined; // needs the port, which is known only when listening
  let inFlight = 0;
  const handle: Handler = (request, { completed }) => {
    if (app === undefined || inFlight >= MAX_IN_FLIGHT) return new Response(null, { status: 503 });
    inFlight++;
    const end = () => void inFlight--;
    completed.then(end, end);
    return app.fetch(request);
  };
  const { hostname } = at;
  const server = new LastingServer(listen(at, handle), {
    open: (port) => listen({ hostname, ports: [port] }, handle),
  });
  const bound = { hostname: server.addr.hostname, port: server.addr.port };
  const streams = new ChangeStreams(parts.log);
  app = inspectorApp({ ...parts, streams, guard: new HostGuard({ hostname }, bound) });
  return {
    address: { host: bound.hostname, port: bound.port },
    async close() {
      streams.close();
      await within(STOP_GRACE_MS, server.shutdown());
    },
  };
}

function listen(
  { hostname, ports }: InspectAt,
  handler: Handler,
): Deno.HttpServer<Deno.NetAddr> {
  let taken: unknown;
  for (const port of ports) {
    try {
      return Deno.serve({
        hostname,
        port,
        onListen: () => {}, // else it prints
        onError: () => new Response(null, { status: 500 }),
      }, handler);
    } catch (error) {
      if (!(error instanceof Deno.errors.AddrInUse)) throw listenFault(hostname, port, error);
      taken = error;
    }
  }
  const first = formatHostPort({ host: hostname, port: ports[0] ?? 0 });
  const what = ports.length > 1
    ? `"${first}" and the ${ports.length - 1} ports after it are`
    : `"${first}" is`;
  throw new GatewayError(
    "address-in-use",
    `Cannot show requests: ${what} in use; give --inspect another port`,
    {
      cause: taken,
    },
  );
}

function listenFault(host: string, port: number, cause: unknown): GatewayError {
  const isDenied = cause instanceof Deno.errors.NotCapable || cause instanceof Deno.errors.PermissionDenied;
  return new GatewayError(
    isDenied ? "permission-denied" : "listen-failed",
    `Cannot show requests on "${formatHostPort({ host, port })}": ${
      messageOf(cause)
    }; give --inspect another port`,
    { cause },
  );
}
