/// <reference lib="deno.worker" />
import { type MessageChannelEnd, openRpc, type Rpc } from "../../../core/rpc.ts";
import { Agent } from "./agent.ts";
import { EventBatch } from "./event_batch.ts";
import { systemNetwork } from "./network.ts";
import { lendRuntimeCas } from "./trust.ts";
import type { AgentOwnerMethods, AgentWorkerMethods } from "./worker_methods.ts";

let agent: Agent | undefined;

const owner: Rpc<AgentOwnerMethods> = openRpc(
  self as unknown as MessageChannelEnd,
  {
    start({ settings, watchRequests, runtimeCas }) {
      lendRuntimeCas(runtimeCas);
      agent = new Agent(settings, {
        watchRequests,
        onEvent: (event) => events.add(event),
        network: { ...systemNetwork(), lookUp: (name) => owner.call("lookUp", name) },
      });
      agent.start();
      void agent.ended.then((end) => {
        events.flush();
        owner.notify("ended", end);
      });
    },
    update: (settings) => agent?.update(settings),
    status: () => agent?.status,
    async stop(graceMs) {
      const finished = await agent?.stop(graceMs) ?? true;
      events.flush();
      return finished;
    },
    stopNow: () => agent?.stopNow(),
    ping: () => {},
  } satisfies AgentWorkerMethods,
);

const events = new EventBatch((batch, dropped) => owner.notify("events", batch, dropped));
