/// <reference lib="deno.worker" />
import { type MessageChannelEnd, openRpc, type Rpc } from "../../../core/rpc.ts";
import type { HostPort } from "../../../core/plugin/mod.ts";
import { Agent } from "./agent.ts";
import { EventBatch } from "./event_batch.ts";
import { systemNetwork } from "./network.ts";
import type { InspectStream } from "./public_streams.ts";
import { lendRuntimeCas } from "./trust.ts";
import type { AgentOwnerMethods, AgentWorkerMethods, InspectAt } from "./worker_methods.ts";

/** What shows people the requests of an agent. */
export interface RequestInspector {
  /** Where its page is. */
  readonly address: HostPort;
  readonly inspect: InspectStream;
  /** Ends the page, and what goes on for it. */
  close(): Promise<void>;
}

/** Connects to a service's target: see {@link Agent.dialTarget}. */
export type DialTarget = Agent["dialTarget"];

/** Starts one. @throws {GatewayError} It cannot listen. */
export type StartInspector = (at: InspectAt, dial: DialTarget) => RequestInspector;

/**
 * Serves, in a worker, what the thread that started it asks of an agent.
 *
 * @param startInspector For workers that are started to be inspected; others do without its code.
 */
export function serveAgent(startInspector?: StartInspector): void {
  let agent: Agent | undefined;
  let inspector: RequestInspector | undefined;

  const owner: Rpc<AgentOwnerMethods> = openRpc(
    self as unknown as MessageChannelEnd,
    {
      start({ settings, watchRequests, runtimeCas, inspect }) {
        lendRuntimeCas(runtimeCas);
        if (inspect !== undefined) {
          inspector = startInspector?.(inspect, (service, header, signal) => {
            if (agent === undefined) throw new TypeError("The agent is not started");
            return agent.dialTarget(service, header, signal);
          });
        }
        agent = new Agent(settings, {
          watchRequests,
          inspect: inspector?.inspect,
          onEvent: (event) => events.add(event),
          network: { ...systemNetwork(), lookUp: (name) => owner.call("lookUp", name) },
        });
        agent.start();
        void agent.ended.then((end) => {
          events.flush();
          owner.notify("ended", end);
        });
        return inspector?.address;
      },
      update: (settings) => agent?.update(settings),
      status: () => agent?.status,
      async stop(graceMs) {
        const finished = await agent?.stop(graceMs) ?? true;
        await inspector?.close();
        events.flush();
        return finished;
      },
      stopNow: () => agent?.stopNow(),
      ping: () => {},
    } satisfies AgentWorkerMethods,
  );

  const events = new EventBatch((batch, dropped) => owner.notify("events", batch, dropped));
}
