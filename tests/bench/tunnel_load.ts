import { Helper, JobRunner } from "./helper.ts";
import type { ServicePorts, TunnelJob, TunnelResults } from "./tunnel_jobs.ts";

/** The clients of a gateway. */
export type TunnelClients = JobRunner<TunnelJob, TunnelResults>;

/** Where everything listens: gateways, agents' services. */
export const HOSTNAME = "127.0.0.1";

const START_DEADLINE_MS = 10_000;

/** Starts the services behind the agent. They end with the stack. */
export async function startServices(stack: AsyncDisposableStack, program: string): Promise<ServicePorts> {
  return await stack.use(new Helper(program, ["services", HOSTNAME])).receive<ServicePorts>(
    START_DEADLINE_MS,
  );
}

/** Starts the clients of the gateway. They end with the stack. */
export function startClients(stack: AsyncDisposableStack, program: string): TunnelClients {
  return stack.use(new JobRunner<TunnelJob, TunnelResults>(program, ["clients"]));
}
