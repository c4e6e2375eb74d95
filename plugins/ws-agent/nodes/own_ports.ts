import { closeQuietly, GatewayError, parseCidrs } from "../../../core/plugin/mod.ts";
import { type AgentNetwork, TcpStream } from "../agent/network.ts";
import type { Target } from "../agent/target.ts";
import type { PortRange } from "../auth/grant.ts";
import type { NodeTunnel } from "./node_tunnel.ts";

/** Where a gateway itself takes connections. */
export interface OwnPorts {
  /** What it listens on now. */
  readonly open: readonly number[];
  /** What it may open for services at any time. */
  readonly tunnels: PortRange;
  /** The address that tunnel ports are listened on. */
  readonly address: string;
}

const LOOPBACK = parseCidrs(["127.0.0.0/8", "::1", "0.0.0.0", "::"]);

/**
 * Why a node tunnel must not lead to `target`: a connection that comes out of a tunnel here and goes into another one may come back,
 * and would go round for ever. Chains of gateways are built by naming the service itself.
 *
 * @returns `undefined`: it leads elsewhere.
 */
export function whyCircular(
  { host, port }: Pick<Target, "host" | "port">,
  own: OwnPorts,
): string | undefined {
  const isHere = host === "localhost" || host.endsWith(".localhost") || host === own.address ||
    LOOPBACK.has(host);
  if (!isHere) return undefined;
  const { first, last } = own.tunnels;
  if (port >= first && port <= last) {
    return `port ${port} is one of this gateway's own tunnels' (ports), and a connection could go round in a circle`;
  }
  return own.open.includes(port)
    ? `this gateway itself listens on port ${port}, and a connection could go round in a circle`
    : undefined;
}

/** @throws {GatewayError} `config-invalid`: one of the tunnels leads back into this gateway. */
export function refuseCircles(tunnels: readonly Pick<NodeTunnel, "name" | "ports">[], own: OwnPorts): void {
  for (const { name, ports: { local } } of tunnels) {
    const why = whyCircular(local, own);
    if (why !== undefined) throw new GatewayError("config-invalid", `Node tunnel "${name}": ${why}`);
  }
}

/**
 * A network that reaches everything but this gateway itself, whatever name or address leads there: what a name means may change
 * after it was checked.
 */
export function keepingOut(network: AgentNetwork, ownPorts: () => OwnPorts): AgentNetwork {
  const refuse = (why: string | undefined) => {
    if (why !== undefined) throw new GatewayError("dial-failed", `It leads back: ${why}`);
  };
  return {
    ...network,
    async connect(to, signal) {
      refuse(whyCircular(to, ownPorts()));
      const stream = await network.connect(to, signal);
      try {
        refuse(
          whyCircular(
            { host: isThisMachine(stream) ? "localhost" : stream.remoteAddress, port: to.port },
            ownPorts(),
          ),
        );
        return stream;
      } catch (error) {
        closeQuietly(stream);
        throw error;
      }
    },
  };
}

/** Both ends of a connection have the same address only where they are on the same machine. */
function isThisMachine(stream: Awaited<ReturnType<AgentNetwork["connect"]>>): boolean {
  return stream instanceof TcpStream && stream.connection.localAddr.hostname === stream.remoteAddress;
}
