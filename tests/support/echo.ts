import { createServer, type Server, type Socket } from "node:net";
import { createHash } from "node:crypto";
import { closeQuietly, writeAll } from "../../core/byte_stream.ts";
import { type Address, hostPort } from "./processes.ts";

const CHUNK_BYTES = 64 * 1024;

/** A small server on loopback for a test to connect to; `await using` closes it and what it has accepted. */
export interface TestServer extends AsyncDisposable {
  readonly address: Address;
  /** The same as `host:port`, for a config. */
  readonly target: string;
  /** How many connections it has accepted so far. */
  readonly accepted: number;
  /** How many of them are still open on this side. */
  readonly open: number;
}

export interface ServeOptions {
  /** @default "127.0.0.1" */
  readonly hostname?: string;
  /** @default 0 */
  readonly port?: number;
}

/**
 * Serves each connection with `handler`, and closes it when the handler is done. A connection that the peer reset is
 * over and no failure; any other error of a handler makes the disposal reject.
 */
export function serveTcp(
  handler: (connection: Deno.TcpConn) => void | Promise<void>,
  options: ServeOptions = {},
): TestServer {
  const { hostname = "127.0.0.1", port = 0 } = options;
  const listener = Deno.listen({ hostname, port });
  const open = new Set<Deno.TcpConn>();
  const running = new Set<Promise<void>>();
  const failures: unknown[] = [];
  let accepted = 0;
  let closing = false;

  const serve = async (connection: Deno.TcpConn) => {
    try {
      await handler(connection);
    } catch (error) {
      if (!closing && !isPeersDoing(error)) failures.push(error);
    } finally {
      open.delete(connection);
      closeQuietly(connection);
    }
  };
  const accepting = (async () => {
    for await (const connection of listener) {
      accepted++;
      open.add(connection);
      const served = serve(connection);
      running.add(served);
      served.finally(() => running.delete(served));
    }
  })();

  const address = { hostname, port: listener.addr.port };
  return {
    address,
    target: hostPort(address),
    get accepted() {
      return accepted;
    },
    get open() {
      return open.size;
    },
    async [Symbol.asyncDispose]() {
      if (closing) return;
      closing = true;
      closeQuietly(listener);
      open.forEach(closeQuietly);
      await Promise.all([accepting, ...running]);
      if (failures.length > 0) throw new AggregateError(failures, "A handler of a test server failed");
    },
  };
}

/** Sends back what comes, until the client's FIN. */
export function startEcho(options?: ServeOptions): TestServer {
  return serveTcp(async (connection) => {
    const buffer = new Uint8Array(CHUNK_BYTES);
    for (let n; (n = await connection.read(buffer)) !== null;) {
      await writeAll(connection, buffer.subarray(0, n));
    }
    await connection.closeWrite();
  }, options);
}

/** What one connection has brought to a sink. */
export interface Received {
  readonly bytes: number;
  /** SHA-256 of it all, in hex. */
  readonly sha256: string;
}

/** Reads everything, then answers with nothing but its FIN. `received` has a row for each connection that ended. */
export function startSink(options?: ServeOptions): TestServer & { readonly received: readonly Received[] } {
  const received: Received[] = [];
  const server = serveTcp(async (connection) => {
    const hash = createHash("sha256");
    const buffer = new Uint8Array(CHUNK_BYTES);
    let bytes = 0;
    for (let n; (n = await connection.read(buffer)) !== null; bytes += n) hash.update(buffer.subarray(0, n));
    received.push({ bytes, sha256: hash.digest("hex") });
  }, options);
  return extend(server, { received });
}

/** Waits for the client's first bytes (a proxy needs some to route by), then sends `data` and its FIN. */
export function startSource(data: Uint8Array, options?: ServeOptions): TestServer {
  return serveTcp(async (connection) => {
    if (await connection.read(new Uint8Array(CHUNK_BYTES)) === null) return;
    await writeAll(connection, data);
    await connection.closeWrite();
    await readToEnd(connection);
  }, options);
}

/** Reads up to the client's FIN, and only then sends what `answer` makes of it: half-close at work. */
export function startResponder(
  answer: (request: Uint8Array) => Uint8Array,
  options?: ServeOptions,
): TestServer {
  return serveTcp(async (connection) => {
    await writeAll(connection, answer(await readToEnd(connection)));
  }, options);
}

/** Accepts, then neither reads nor writes until it is disposed. */
export function startSilent(options?: ServeOptions): TestServer {
  const { promise: disposed, resolve } = Promise.withResolvers<void>();
  const server = serveTcp(() => disposed, options);
  return extend(server, {
    async [Symbol.asyncDispose]() {
      resolve();
      await server[Symbol.asyncDispose]();
    },
  });
}

/** Answers the first bytes with a RST; with `at: "accept"`, the connection itself. */
export async function startReset(
  options: ServeOptions & { readonly at?: "accept" | "data" } = {},
): Promise<TestServer> {
  const { hostname = "127.0.0.1", port = 0, at = "data" } = options;
  const sockets = new Set<Socket>();
  let accepted = 0;
  const server: Server = createServer((socket) => {
    accepted++;
    sockets.add(socket);
    socket.on("close", () => sockets.delete(socket));
    // A peer may be faster with its own end; that is its right.
    socket.on("error", () => {});
    if (at === "accept") socket.resetAndDestroy();
    else socket.once("data", () => socket.resetAndDestroy());
  });
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(port, hostname, resolve);
  });
  const bound = server.address();
  if (bound === null || typeof bound === "string") throw new TypeError("Not a TCP server");
  const address = { hostname, port: bound.port };
  return {
    address,
    target: hostPort(address),
    get accepted() {
      return accepted;
    },
    get open() {
      return sockets.size;
    },
    async [Symbol.asyncDispose]() {
      if (!server.listening) return;
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      sockets.forEach((socket) => socket.destroy());
      await closed;
    },
  };
}

/** Everything up to the peer's FIN. */
export async function readToEnd(
  from: { read(into: Uint8Array): Promise<number | null> },
): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  const buffer = new Uint8Array(CHUNK_BYTES);
  for (let n; (n = await from.read(buffer)) !== null;) chunks.push(buffer.slice(0, n));
  const all = new Uint8Array(chunks.reduce((sum, chunk) => sum + chunk.length, 0));
  chunks.reduce((at, chunk) => (all.set(chunk, at), at + chunk.length), 0);
  return all;
}

function isPeersDoing(error: unknown): boolean {
  return error instanceof Deno.errors.ConnectionReset || error instanceof Deno.errors.BrokenPipe;
}

/** Adds to a server without freezing its getters, as a spread would. */
function extend<T extends object>(server: TestServer, more: T): TestServer & T {
  return Object.create(server, Object.getOwnPropertyDescriptors(more));
}
