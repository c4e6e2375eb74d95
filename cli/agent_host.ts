import { lookup } from "node:dns/promises";
import { rootCertificates } from "node:tls";
import type { Log } from "../core/log.ts";
import { formatHostPort, type HostPort } from "../core/net/address.ts";
import { ManagedWorker } from "../core/supervisor/managed_worker.ts";
import type { AgentEnd, AgentEvent, AgentStatus } from "../plugins/ws-agent/agent/events.ts";
import type { AgentService, AgentSettings } from "../plugins/ws-agent/agent/settings.ts";
import { knownHosts } from "../plugins/ws-agent/agent/target.ts";
import type {
  AgentOwnerMethods,
  AgentWorkerMethods,
  InspectAt,
} from "../plugins/ws-agent/agent/worker_methods.ts";
import { dealOut, unitName, unitPermissions, type UnitPlan } from "./agent_units.ts";

export interface AgentHostOptions {
  readonly log: Log;
  /** Told of everything that happens, in order for each worker. */
  readonly onEvent: (event: AgentEvent) => void;
  /** Requests that came too fast to be told. */
  readonly onDropped?: (count: number) => void;
  readonly watchRequests: boolean;
  /** Where requests are shown. Absent: nowhere. Only for an agent that one worker is enough for. */
  readonly inspect?: InspectAt | undefined;
  /** Told where that is, again when it has changed. */
  readonly onInspector?: (address: HostPort) => void;
}

interface Unit {
  plan: UnitPlan;
  readonly worker: ManagedWorker<AgentWorkerMethods>;
}

const ENTRY = new URL("../plugins/ws-agent/agent/worker.ts", import.meta.url);
/** Has the code of the page, too, which other agents do without. */
const INSPECTED_ENTRY = new URL("../plugins/ws-agent/inspect/worker.ts", import.meta.url);

/**
 * Runs an agent in workers that may connect to the gateway and to the targets, and do nothing else. This thread reads files and writes
 * to the terminal; no byte of a connection crosses it.
 */
export class AgentHost {
  /** Settles when trying makes no sense any more. */
  readonly lost: Promise<Extract<AgentEnd, { kind: "lost" }>>;
  readonly #lose: (end: Extract<AgentEnd, { kind: "lost" }>) => void;
  readonly #options: AgentHostOptions;
  /** As they are asked for before permissions are given up. */
  readonly #runtimeCas = rootCertificates.join("\n");
  #settings: AgentSettings;
  #units: Unit[] = [];
  /** One change at a time. */
  #changing: Promise<void> = Promise.resolve();
  #stopping = false;

  private constructor(settings: AgentSettings, options: AgentHostOptions) {
    this.#settings = settings;
    this.#options = options;
    const { promise, resolve } = Promise.withResolvers<Extract<AgentEnd, { kind: "lost" }>>();
    this.lost = promise;
    this.#lose = resolve;
  }

  /** Rejects when a worker does not come up. That the gateway is not there is no reason for it. */
  static async start(settings: AgentSettings, options: AgentHostOptions): Promise<AgentHost> {
    const host = new AgentHost(settings, options);
    await host.update(settings);
    return host;
  }

  /** What all workers together may connect to. */
  get net(): string[] {
    return [...new Set(this.#units.flatMap(({ plan }) => plan.net))].toSorted();
  }

  /** How many workers there are. */
  get size(): number {
    return this.#units.length;
  }

  /** Goes on with other settings; what did not change goes on undisturbed. */
  update(settings: AgentSettings): Promise<void> {
    const change = this.#changing.then(() => this.#stopping ? undefined : this.#change(settings));
    this.#changing = change.catch(() => {});
    return change;
  }

  async status(): Promise<AgentStatus | undefined> {
    const all = await Promise.all(
      this.#units.map(({ worker }) => worker.rpc?.call("status").catch(() => undefined)),
    );
    return all.filter((one) => one !== undefined).reduce<AgentStatus | undefined>(
      (sum, one) => sum === undefined ? one : add(sum, one),
      undefined,
    );
  }

  /** @returns Whether every public connection had finished. Harmless when repeated. */
  async stop(graceMs: number): Promise<boolean> {
    this.#stopping = true;
    await this.#changing;
    const finished = await Promise.all(this.#units.map((unit) => this.#end(unit, graceMs)));
    return finished.every((one) => one);
  }

  /** Ends at once what {@link stop} waits for. */
  stopNow(): void {
    for (const { worker } of this.#units) worker.rpc?.notify("stopNow");
  }

  async #change(given: AgentSettings): Promise<void> {
    const settings = { ...given, services: await Promise.all(given.services.map(withAddresses)) };
    this.#settings = settings;
    const plans = dealOut(this.#units.map(({ plan }) => plan), settings);
    const kept: Unit[] = [];
    for (const unit of this.#units) {
      const plan = plans.find(({ index }) => index === unit.plan.index);
      if (plan === undefined) await this.#end(unit, 0); // first, so that its names are free for another
      else {
        unit.plan = plan;
        unit.worker.rpc?.notify("update", this.#settingsOf(plan));
        kept.push(unit);
      }
    }
    this.#units = kept;
    for (const plan of plans) {
      if (kept.some((unit) => unit.plan === plan)) continue;
      const unit = this.#unit(plan);
      this.#units.push(unit);
      await unit.worker.start();
    }
  }

  async #end({ worker }: Unit, graceMs: number): Promise<boolean> {
    const finished = await worker.rpc?.call("stop", graceMs).catch(() => false) ?? true;
    worker.stop();
    return finished;
  }

  #unit(plan: UnitPlan): Unit {
    const { onEvent, onDropped, watchRequests, inspect, onInspector, log } = this.#options;
    const unit: Unit = {
      plan,
      worker: new ManagedWorker<AgentWorkerMethods>({
        name: unitName("agent", plan.index),
        entry: inspect === undefined ? ENTRY : INSPECTED_ENTRY,
        permissions: unitPermissions([...plan.net, ...listenPermissions(inspect)]),
        methods: {
          events: (batch, dropped) => {
            for (const event of batch) onEvent(event);
            if (dropped > 0) onDropped?.(dropped);
          },
          ended: (end) => {
            if (end.kind === "lost") this.#lose(end);
          },
          lookUp,
        } satisfies AgentOwnerMethods,
        setUp: async (rpc) => {
          const inspector = await rpc.call("start", {
            settings: this.#settingsOf(unit.plan),
            watchRequests,
            ...(this.#settings.tls.extraCa !== undefined && { runtimeCas: this.#runtimeCas }),
            ...(inspect !== undefined && { inspect }),
          });
          if (inspector !== undefined) onInspector?.(inspector);
        },
      }, log),
    };
    return unit;
  }

  #settingsOf({ index, services }: UnitPlan): AgentSettings {
    return { ...this.#settings, name: unitName(this.#settings.name, index), services };
  }
}

function listenPermissions(at: InspectAt | undefined): string[] {
  return at?.ports.map((port) => formatHostPort({ host: at.hostname, port })) ?? [];
}

async function lookUp(name: string): Promise<readonly string[]> {
  return (await lookup(name, { all: true, verbatim: true })).map(({ address }) => address);
}

/** Datagrams are sent to addresses: a worker that may send to a name is of no use. One that is not known now has none. */
async function withAddresses(service: AgentService): Promise<AgentService> {
  const { protocol, target } = service;
  if (protocol !== "udp" || knownHosts(target) !== undefined) return service;
  return { ...service, addresses: await lookUp(target.host).catch(() => []) };
}

function add(a: AgentStatus, b: AgentStatus): AgentStatus {
  const roundTripMs = a.roundTripMs ?? b.roundTripMs;
  return {
    connected: a.connected + b.connected,
    connections: a.connections + b.connections,
    ...(roundTripMs !== undefined && { roundTripMs }),
    streams: a.streams + b.streams,
    streamsTotal: a.streamsTotal + b.streamsTotal,
    bytesIn: a.bytesIn + b.bytesIn,
    bytesOut: a.bytesOut + b.bytesOut,
  };
}
