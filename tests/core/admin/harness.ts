import type { AdminSettings, AdminWorkerMethods, BoundAddress } from "../../../core/admin/contract.ts";
import { adminPermissions } from "../../../core/admin/permissions.ts";
import { startAdmin } from "../../../core/admin/server.ts";
import type { AdminMethods, GatewayStatus, LiveReport } from "../../../core/data_plane/snapshot.ts";
import { createLog, type LogEvent } from "../../../core/log.ts";
import { openRpc } from "../../../core/rpc.ts";
import { granted } from "../../support/permissions.ts";

/** The admin side as a test sees it. */
export interface TestAdmin extends AsyncDisposable {
  readonly address: BoundAddress;
  readonly events: readonly LogEvent[];
  reload(settings: Pick<AdminSettings, "token">): Promise<void>;
  stop(): Promise<void>;
}

/** Creating a worker from a file needs `read`; without it the same server is tested in this thread. */
export const HAS_WORKERS: boolean = granted("read");

const ON_A_FREE_PORT: AdminSettings = { hostname: "127.0.0.1", port: 0 };

/** Starts the admin side in front of a gateway that the test plays: in its real worker where that is permitted. */
export function openAdmin(
  gateway: Partial<AdminMethods> = {},
  settings: Partial<AdminSettings> = {},
): Promise<TestAdmin> {
  const all = { ...ON_A_FREE_PORT, ...settings };
  return HAS_WORKERS ? openWorker(fakeGateway(gateway), all) : openInThread(fakeGateway(gateway), all);
}

/** A worker with exactly the permissions that the supervisor gives to the admin worker. */
export function createWorker(entry: URL, settings: AdminSettings): Worker {
  return new Worker(entry, { type: "module", deno: { permissions: adminPermissions(settings) } });
}

async function openWorker(gateway: AdminMethods, settings: AdminSettings): Promise<TestAdmin> {
  const worker = createWorker(new URL("../../../core/admin/worker.ts", import.meta.url), settings);
  const events: LogEvent[] = [];
  const local = { ...gateway, log: (some: readonly LogEvent[]) => void events.push(...some) };
  const rpc = openRpc<AdminWorkerMethods>(worker, local);
  worker.onerror = (event) => {
    event.preventDefault();
    rpc.close(`The admin worker died: ${event.message}`);
  };
  try {
    const address = await rpc.call("start", settings);
    return {
      address,
      events,
      reload: (next) => rpc.call("reload", next),
      stop: () => rpc.call("stop"),
      async [Symbol.asyncDispose]() {
        await rpc.call("stop");
        worker.terminate();
      },
    };
  } catch (error) {
    worker.terminate();
    throw error;
  }
}

// deno-lint-ignore require-await -- so that what it throws is a rejection, as from a worker
async function openInThread(gateway: AdminMethods, settings: AdminSettings): Promise<TestAdmin> {
  const events: LogEvent[] = [];
  const server = startAdmin(settings, gateway, createLog("admin", "debug", (event) => events.push(event)));
  return {
    address: server.address,
    events,
    // deno-lint-ignore require-await -- as above
    reload: async (next) => server.reload(next),
    stop: () => server.stop(),
    [Symbol.asyncDispose]: () => server.stop(),
  };
}

/** A gateway that runs and has nothing to do. */
export function fakeGateway(overrides: Partial<AdminMethods> = {}): AdminMethods {
  return {
    status: () => Promise.resolve(STATUS),
    readiness: () => Promise.resolve({ ready: true, reasons: [] }),
    metrics: () => Promise.resolve({ planes: [], plugins: [] }),
    connections: () => Promise.resolve([]),
    closeConnection: () => Promise.resolve(false),
    tunnels: () => Promise.resolve([]),
    closeTunnel: () => Promise.resolve(false),
    routes: () => Promise.resolve([]),
    live: () => Promise.resolve(LIVE),
    ...overrides,
  };
}

export const STATUS: GatewayStatus = {
  version: "1.2.3",
  startedAt: 1_700_000_000_000,
  threads: 1,
  draining: false,
  listeners: [{ address: "127.0.0.1:8443", kind: "stream" }],
  connections: { active: 2, total: 9 },
  tunnels: { active: 0, oldest: [] },
  bytes: { in: 1_000, out: 2_000 },
  rejected: { unknown_name: 3 },
  plugins: [{
    name: "static",
    isolation: "inline",
    module: "./plugins/static/mod.ts",
    permissions: {},
    state: "up",
    restarts: 1,
    status: { ready: true },
  }],
  memory: 50_000_000,
};

export const LIVE: LiveReport = {
  sample: {
    time: 1_700_000_000_000,
    connections: { active: 2, total: 9 },
    tunnels: 0,
    bytes: { in: 1_000, out: 2_000 },
    requests: 4,
    rejected: { unknown_name: 3 },
    memory: 50_000_000,
  },
  events: [],
  sequence: 0,
};

export interface HttpAnswer {
  readonly status: number;
  readonly headers: Headers;
  readonly body: string;
}

export interface HttpRequest {
  readonly method?: string;
  readonly path?: string;
  /** `null`: send no Host at all. */
  readonly host?: string | null;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
}

/** One request on a connection of its own, exactly as given: `fetch` would not let a test forge a Host. */
export async function request(address: BoundAddress, given: HttpRequest = {}): Promise<HttpAnswer> {
  const { method = "GET", path = "/", headers = {}, body = "" } = given;
  const host = given.host === undefined ? `${address.hostname}:${address.port}` : given.host;
  const lines = [`${method} ${path} HTTP/1.1`, "Connection: close"];
  if (host !== null) lines.push(`Host: ${host}`);
  for (const [name, value] of Object.entries(headers)) lines.push(`${name}: ${value}`);
  return parseAnswer(await exchange(address, `${lines.join("\r\n")}\r\n\r\n${body}`));
}

/** Sends bytes, and reads one answer: up to its Content-Length, or until the other side is done. */
export async function exchange(address: BoundAddress, sent: string): Promise<string> {
  using connection = await Deno.connect({ hostname: address.hostname, port: address.port });
  const bytes = new TextEncoder().encode(sent);
  for (let done = 0; done < bytes.length;) done += await connection.write(bytes.subarray(done));
  const decoder = new TextDecoder();
  const buffer = new Uint8Array(16_384);
  let text = "";
  for (let n; !isComplete(text) && (n = await connection.read(buffer)) !== null;) {
    text += decoder.decode(buffer.subarray(0, n), { stream: true });
  }
  return text;
}

function isComplete(answer: string): boolean {
  const end = answer.indexOf("\r\n\r\n");
  const length = /^content-length: (\d+)$/im.exec(answer.slice(0, Math.max(end, 0)))?.[1];
  return length !== undefined && new TextEncoder().encode(answer.slice(end + 4)).length >= Number(length);
}

function parseAnswer(text: string): HttpAnswer {
  const end = text.indexOf("\r\n\r\n");
  const [statusLine = "", ...lines] = text.slice(0, end).split("\r\n");
  const headers = new Headers(lines.map((line): [string, string] => {
    const colon = line.indexOf(":");
    return [line.slice(0, colon), line.slice(colon + 1).trim()];
  }));
  return { status: Number(statusLine.split(" ")[1]), headers, body: text.slice(end + 4) };
}
