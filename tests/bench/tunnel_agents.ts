/** Many agents of Postern in one process. It ends with its stdin. */
import { Agent, type AgentEvent, type AgentSettings } from "../../plugins/ws-agent/agent/mod.ts";
import { readMessages, writeMessage } from "./json_lines.ts";
import type { AgentsJob } from "./tunnel_postern.ts";

/** How many connect at a time: fewer than fit into the gateway's accept queue. */
const LANES = 16;

/** Resolves once all its services are registered. */
function startAgent(settings: AgentSettings): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const waited = new Set(settings.services.map(({ name }) => name));
  const onEvent = (event: AgentEvent) => {
    if (event.kind === "public") waited.delete(event.service);
    if (event.kind === "refused") reject(new Error(`Refused: ${JSON.stringify(event)}`));
    if (waited.size === 0) resolve();
  };
  const agent = new Agent(settings, { onEvent });
  agent.start();
  agent.ended.then((end) => reject(new Error(`Ended: ${JSON.stringify(end)}`)));
  return promise;
}

const { settings, copies } = JSON.parse(Deno.args[0] ?? "") as AgentsJob;
let next = 0;
await Promise.all(Array.from({ length: LANES }, async () => {
  for (let index; (index = next++) < copies;) await startAgent(copyOf(settings, index));
}));
await writeMessage({ ready: true });
for await (const _message of readMessages());
Deno.exit(0);

function copyOf(settings: AgentSettings, index: number): AgentSettings {
  const services = settings.services.map((service) => ({ ...service, name: `${service.name}-${index}` }));
  return { ...settings, name: `${settings.name}-${index}`, services };
}
