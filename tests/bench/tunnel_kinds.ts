import { findProgram, granted } from "../support/permissions.ts";
import { freePort, type Program, type ProgramOptions, startProgram } from "../support/processes.ts";
import { cpuSecondsOf } from "./cpu.ts";
import type { HttpTarget, ServicePorts, StreamService, TunnelTarget } from "./tunnel_jobs.ts";
import type { Place } from "./tunnel_place.ts";

/** A gateway and its agent, with a tunnel between them. */
export interface TunnelPeer extends AsyncDisposable {
  /** The process of the gateway; `direct` has none. */
  readonly gatewayPid?: number;
  readonly agentPids: readonly number[];
  /** Plain HTTP by the name in `Host`; absent where it knows no names. */
  readonly http?: HttpTarget;
  /** HTTP with the public side's TLS ended by the gateway. */
  readonly https?: HttpTarget;
  /** By a TCP tunnel for each service: nobody looks at the bytes. */
  stream(service: StreamService): TunnelTarget;
  /** By a UDP tunnel to an echo; absent where there is none. */
  readonly datagrams?: TunnelTarget;
  /** Starts so many more agents with a TCP tunnel each, and resolves when all are connected. They end with the peer. */
  addAgents?(count: number): Promise<void>;
  /** Brings one of its services, as a private one, to a local port: another process, which is the caller's to end. */
  startAccess?(service: BulkService): Promise<Detour<TunnelTarget>>;
  /** Has the HTTP service served by an agent of go-tunnel under another name. The caller's to end. */
  startGoTunnel?(): Promise<Detour<HttpTarget>>;
}

/** What bulk goes to or comes from. */
export type BulkService = Extract<StreamService, "sink" | "source">;
export const BULK_SERVICES: readonly BulkService[] = ["sink", "source"];

/** The processes that bytes of a tunnel go through. */
export function pidsOf({ gatewayPid, agentPids }: TunnelPeer): readonly number[] {
  return [...(gatewayPid === undefined ? [] : [gatewayPid]), ...agentPids];
}

/** Another way through the same gateway, for as long as its process runs. */
export interface Detour<Target extends TunnelTarget> extends AsyncDisposable {
  readonly pid: number;
  readonly to: Target;
}

/** The processor time of gateway and agents so far, in seconds: who takes less leaves more to the load generator. */
export function cpuOf(peer: TunnelPeer): Promise<number> {
  return cpuSecondsOf(pidsOf(peer));
}

export interface TunnelKind {
  readonly name: string;
  /** What it needs and is not installed. */
  readonly missing: readonly string[];
  /** How the bytes between gateway and agent are protected. */
  readonly leg: string;
  /** The most that `addAgents` takes: where each agent is a process of its own, few. 0: none. */
  readonly maxAgents: number;
  start(site: Site): Promise<TunnelPeer>;
}

/** What a tunnel is started for. */
export interface Site {
  readonly place: Place;
  readonly services: ServicePorts;
  /** How many agents `addAgents` is going to add. */
  readonly spareAgents: number;
}

/** Below which the names of HTTP services are. */
export const DOMAIN = "bench.localhost";
/** The name by which the HTTP service is asked for. */
export const HTTP_HOST = `app.${DOMAIN}`;
export const SERVICES: readonly StreamService[] = ["http", "echo", "sink", "source"];

const FOLDER_VARIABLE = "POSTERN_BENCH_PEERS";

/** The path of a peer's program: in the folder that `POSTERN_BENCH_PEERS` names, or on PATH. */
export function findPeer(program: string): string | undefined {
  const folder = granted("env") ? Deno.env.get(FOLDER_VARIABLE) : undefined;
  return (folder && findProgram(`${folder}/${program}`)) || findProgram(program);
}

/** Those of these programs that {@link findPeer} does not find. */
export function missingOf(...programs: readonly string[]): string[] {
  return programs.filter((program) => findPeer(program) === undefined);
}

/** Starts one of a peer's programs; it ends with the stack. */
export async function startPeerProgram(
  stack: AsyncDisposableStack,
  program: string,
  options: ProgramOptions,
): Promise<Program> {
  return stack.use(await startProgram(findPeer(program) ?? program, options));
}

/** A free public port for each service. */
export function publicPorts(): ServicePorts {
  return { http: freePort(), echo: freePort(), sink: freePort(), source: freePort(), datagrams: freePort() };
}
