import { type Address, hostPort } from "./processes.ts";

/** How long a connection to loopback may take before the queue counts as full, in milliseconds. */
const PATIENCE_MS = 100;

/** An address that never answers, as behind a firewall: its queue is full, so the kernel drops each SYN. */
export async function startUnreachable(): Promise<
  AsyncDisposable & { readonly address: Address; readonly target: string }
> {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0, tcpBacklog: 1 });
  const address = { hostname: "127.0.0.1", port: listener.addr.port };
  const waiting: Deno.TcpConn[] = [];
  for (let isFull = false; !isFull;) {
    await Deno.connect({ ...address, signal: AbortSignal.timeout(PATIENCE_MS) })
      .then((conn) => waiting.push(conn), () => isFull = true);
  }
  return {
    address,
    target: hostPort(address),
    [Symbol.asyncDispose]() {
      for (const conn of waiting) conn.close();
      listener.close();
      return Promise.resolve();
    },
  };
}
