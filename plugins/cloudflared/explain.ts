import type { ConnectionInfo, Explanation } from "../../core/plugin/mod.ts";
import { argumentsFor } from "./command_line.ts";
import type { CloudflaredConfig } from "./config.ts";
import { namingOf, serverNameOf } from "./names.ts";
import { forwardTo, tooLong } from "./plugin.ts";

/** Says which tunnel a connection would get. Whether it runs, and whether it works, is only known to the gateway. */
export function explain(config: CloudflaredConfig, connection: ConnectionInfo): Explanation {
  const serverName = serverNameOf(connection);
  if (serverName === undefined) {
    return {
      steps: ["It asks for no server name by TLS, and a tunnel is found by that: the next plugin is asked"],
    };
  }
  const naming = namingOf(config);
  const pattern = naming.patternFor(serverName);
  if (pattern === undefined) {
    return { steps: [`None of the names (${config.names.join(", ")}) is for "${serverName}"`] };
  }
  const hostname = naming.hostNameFor(serverName);
  if (hostname === undefined) {
    const decision = tooLong(serverName);
    return { steps: [`The name ${pattern} is for "${serverName}"`, decision.detail ?? ""], decision };
  }
  const { command, ports, serviceToken, startupTimeoutMs } = config;
  return {
    steps: [
      `The name ${pattern} is for "${serverName}"`,
      `Its tunnel has the host name ${hostname}, made by ${JSON.stringify(config.hostname)}`,
      `Unless it runs already, it is started and has ${startupTimeoutMs / 1000} s to listen: ${
        [command, ...argumentsFor(hostname, ports.first)].join(" ")
      }`,
      serviceToken ? "It gets the service token through its environment" : "It has no service token",
      `The port is picked when it starts, from ${ports.first} to ${ports.last}; the first is shown here`,
    ],
    decision: forwardTo(ports.first),
  };
}
