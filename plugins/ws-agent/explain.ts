import type { ConnectionInfo, Explanation } from "../../core/plugin/mod.ts";
import type { WsAgentConfig } from "./config.ts";
import { isUnder } from "./names.ts";
import { TERMINATE_FOR_AGENTS, TERMINATE_FOR_HTTP } from "./router.ts";

/** What would happen to a connection while no agent is there: nothing is known of tunnels here. */
export function explain(
  config: WsAgentConfig,
  { protocol, tls, listener, listenerKind, destination }: ConnectionInfo,
): Explanation {
  const { domain, endpoint, controlPath } = config;
  if (!listener.includes(":")) return explainPort(config, destination.port); // one of its own, called by its word
  const host = tls?.serverName;
  if (host === undefined) return explainPlain(config, listenerKind);
  if (protocol !== "tls") {
    return { steps: [`"${host}" with ${protocol} is taken only while an agent has it registered with tls`] };
  }
  if (host === endpoint) {
    return {
      steps: [
        `"${host}" is the endpoint of agents`,
        "The gateway terminates TLS with its certificate for that name",
        `Agents open a WebSocket at ${controlPath}, and those of go-tunnel yamux; anything else is refused`,
      ],
      decision: TERMINATE_FOR_AGENTS,
    };
  }
  if (!isUnder(host, domain)) {
    return { steps: [`"${host}" is taken only while an agent has it registered as its hostname`] };
  }
  return {
    steps: [
      `"${host}" is under "${domain}": agents register such names while the gateway runs`,
      "While an agent has it with http, the gateway terminates TLS and sends each request through the tunnel",
      "While an agent has it with tls, the connection is passed on to the agent as it is",
      "While an agent of go-tunnel has it with mode tcp, the gateway terminates TLS and passes on what is in it",
      "While nobody has it, the gateway terminates TLS with its certificate for that name and answers 404",
    ],
    decision: TERMINATE_FOR_HTTP,
  };
}

function explainPort({ ports }: WsAgentConfig, port: number): Explanation {
  return {
    steps: [
      `Port ${port} is one of those that agents are given (ports: ${ports.first}-${ports.last})`,
      "While an agent has it with tcp, the gateway listens there, and relays each connection to the agent as it is",
      "While an agent has it with udp, each source of datagrams gets a flow to the agent",
      "While nobody has it, the gateway does not listen there: the system refuses connections",
    ],
  };
}

function explainPlain(
  { endpoint, plainHttp, plainEndpoint }: WsAgentConfig,
  listenerKind: ConnectionInfo["listenerKind"],
): Explanation {
  if (listenerKind !== "http" || !(plainHttp || plainEndpoint)) {
    return { steps: ["It has no server name, by which tunnels are found"] };
  }
  return {
    steps: [
      ...(plainEndpoint ? [`Agents may connect by plain HTTP, with the Host "${endpoint}"`] : []),
      ...(plainHttp ? ["Http tunnels are served by plain HTTP, by the Host of the request"] : []),
      "Any other Host is sent on to https",
    ],
    decision: { kind: "handle" },
  };
}
