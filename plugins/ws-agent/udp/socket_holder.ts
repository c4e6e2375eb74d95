import type { Lease, LeaseValue, NodeId } from "../../../core/plugin/mod.ts";

/** In the value of a lease: the data plane that says that it has the socket of the port. */
const SOCKET = "socket";

/** What a lease says of the socket, for a claim that is to leave it as it is. */
export function socketOf(lease: Lease | undefined): LeaseValue {
  const node = lease?.value[SOCKET];
  return node === undefined ? {} : { [SOCKET]: node };
}

/** The value of a lease whose socket is at `node`. */
export function withSocket(value: LeaseValue, node: NodeId): LeaseValue {
  return { ...value, [SOCKET]: node };
}

/**
 * The data plane that has the socket of a port. The word of one without a tunnel to the service does not count: it gives the port up.
 */
export function socketHolder(lease: Lease | undefined): NodeId | undefined {
  const node = lease?.value[SOCKET];
  return lease?.sessions.find((session) => session.node === node)?.node;
}
