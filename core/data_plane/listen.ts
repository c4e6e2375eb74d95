import { GatewayError, messageOf } from "../errors.ts";
import type { PlaneListener } from "./settings.ts";

/**
 * Connections that the kernel holds until they are accepted. 4096: a burst of clients waits its turn instead of
 * a SYN's retransmission of a second.
 */
const BACKLOG = 4096;

/**
 * Listens on a TCP address.
 *
 * @throws {GatewayError} `address-in-use`, `permission-denied` or `listen-failed`.
 */
export function openListener(
  { address, hostname, port, reusePort }: Pick<PlaneListener, "address" | "hostname" | "port" | "reusePort">,
): Deno.TcpListener {
  try {
    return Deno.listen({ hostname, port, reusePort, tcpBacklog: BACKLOG });
  } catch (error) {
    throw listenFault(address, error);
  }
}

/** What went wrong with listening, for people. */
export function listenFault(address: string, cause: unknown): GatewayError {
  if (cause instanceof Deno.errors.AddrInUse) {
    const message =
      `Cannot listen on "${address}": the address is in use; stop the other program or choose another port`;
    return new GatewayError("address-in-use", message, { cause });
  }
  if (cause instanceof Deno.errors.PermissionDenied) {
    const message =
      `Cannot listen on "${address}": the system forbids it; ports under 1024 need CAP_NET_BIND_SERVICE`;
    return new GatewayError("permission-denied", message, { cause });
  }
  return new GatewayError("listen-failed", `Cannot listen on "${address}": ${messageOf(cause)}`, { cause });
}
