import type { PlaneReport, PlaneTunnels } from "../data_plane/methods.ts";
import type {
  AdminMethods,
  ConnectionRow,
  GatewayStatus,
  GatewayTunnel,
  LiveReport,
  MetricsSnapshot,
  PluginRow,
} from "../data_plane/snapshot.ts";
import { oldestTunnels } from "../data_plane/tunnels.ts";
import type { MetricSample, PluginStatus, RouteInfo } from "../plugin/reports.ts";
import type { PluginReport } from "../plugin/running.ts";
import { soundReport } from "../plugin/sound_report.ts";
import { VERSION } from "../version.ts";
import { liveSample } from "./live_sample.ts";
import { mergeSamples } from "./merge_samples.ts";
import { type CheckedPlugin } from "./plugins.ts";
import { PLANE_PERMISSIONS, type Supervisor } from "./supervisor.ts";

/** How long a part may take to report, in milliseconds: one that hangs must not hide the others. */
const REPORT_TIMEOUT_MS = 2000;

/** `status` is read every second by people who watch it. */
const TUNNELS_IN_STATUS = 100;

/** What every part said at one moment. A part that is down, or late, is missing. */
export interface Reports {
  readonly planes: readonly PlaneReport[];
  /** By plugin: one report from each data plane for an inline plugin, one in all for an isolated one. */
  readonly plugins: ReadonlyMap<string, readonly PluginReport[]>;
}

/** Answers the admin side: asks every part, and adds up what the data planes say. */
export class Overview {
  readonly #supervisor: Supervisor;
  #collecting: Promise<Reports> | undefined;

  constructor(supervisor: Supervisor) {
    this.#supervisor = supervisor;
  }

  /** What the admin worker may call. */
  methods(): AdminMethods {
    return {
      status: (tunnels) => this.#status(tunnels),
      readiness: () => this.#readiness(),
      metrics: () => this.#metrics(),
      connections: (limit, filter) => this.#connections(limit, filter),
      closeConnection: (id) => this.#closeConnection(id),
      tunnels: async (limit, filter) => (await this.#tunnels(limit, filter)).rows,
      closeTunnel: (id) => this.#closeTunnel(id),
      routes: () => this.#routes(),
      live: (after) => this.#live(after),
    };
  }

  async #status(listed: number = TUNNELS_IN_STATUS): Promise<GatewayStatus> {
    const { startedAt, planes, draining, listeners, reloadError, limits } = this.#supervisor;
    const asked = listed === 0 ? undefined : this.#tunnels(listed);
    const [reports, tunnels] = await Promise.all([this.#collect(), asked]);
    const { connections, bytes, rejected, memory, tunnels: counted } = liveSample(reports, limits.open);
    return {
      version: VERSION,
      startedAt,
      threads: planes.length,
      draining,
      listeners,
      connections,
      tunnels: { active: tunnels?.active ?? counted, oldest: tunnels?.rows ?? [] },
      bytes,
      rejected,
      plugins: this.#pluginRows(reports),
      certificates: this.#supervisor.certificates,
      memory,
      ...(reloadError !== undefined && { reloadError }),
    };
  }

  async #readiness(): Promise<{ ready: boolean; reasons: string[] }> {
    const { planes, draining } = this.#supervisor;
    const rows = this.#pluginRows(await this.#collect());
    const reasons = [
      ...(draining ? ["draining"] : []),
      ...planes.filter(({ up }) => !up).map(({ name }) => `${name}: down`),
      ...rows.filter(({ status }) => !status.ready).map(({ name, status }) =>
        `plugin ${name}: ${status.reason ?? "not ready"}`
      ),
    ];
    return { ready: reasons.length === 0, reasons };
  }

  async #metrics(): Promise<{ planes: MetricsSnapshot[]; plugins: MetricSample[] }> {
    const reports = await this.#collect();
    return {
      planes: reports.planes.map(({ metrics }) => metrics),
      plugins: [
        ...this.#supervisor.acmeSamples(),
        ...[...reports.plugins.values()].flatMap((all) =>
          mergeSamples(all.flatMap(({ metrics }) => metrics))
        ),
      ],
    };
  }

  async #live(after: number): Promise<LiveReport> {
    const { limits, recent } = this.#supervisor;
    const sample = liveSample(await this.#collect(), limits.open);
    return { sample, events: recent.since(after), sequence: recent.sequence };
  }

  async #connections(limit: number, filter?: string): Promise<ConnectionRow[]> {
    const rows = await Promise.all(
      this.#supervisor.planes.map(({ rpc }) => inTime(rpc?.call("rows", limit, filter))),
    );
    return rows.flatMap((some) => some ?? []).sort((a, b) => a.since - b.since).slice(0, limit);
  }

  async #closeConnection(id: string): Promise<boolean> {
    const found = await Promise.all(
      this.#supervisor.planes.map(({ rpc }) => inTime(rpc?.call("closeConnection", id))),
    );
    return found.includes(true);
  }

  async #tunnels(limit: number, filter?: string): Promise<PlaneTunnels> {
    const answers = await Promise.all(
      this.#supervisor.planes.map(({ rpc }) => inTime(rpc?.call("tunnels", limit, filter))),
    );
    const known = answers.filter((answer) => answer !== undefined);
    const rows: GatewayTunnel[] = known.flatMap((answer) => answer.rows);
    return {
      active: known.reduce((sum, { active }) => sum + active, 0),
      rows: oldestTunnels(rows, limit),
    };
  }

  async #closeTunnel(id: string): Promise<boolean> {
    const found = await Promise.all(
      this.#supervisor.planes.map(({ rpc }) => inTime(rpc?.call("closeTunnel", id))),
    );
    return found.includes(true);
  }

  async #routes(): Promise<(RouteInfo & { plugin: string })[]> {
    const { plugins } = await this.#collect();
    return [...plugins].flatMap(([plugin, reports]) =>
      mergeRoutes(reports.map(({ routes }) => routes)).map((route) => ({ ...route, plugin }))
    );
  }

  /** One collection at a time: however often it is asked for, the parts are not asked more often than they answer. */
  #collect(): Promise<Reports> {
    this.#collecting ??= this.#askAll().finally(() => this.#collecting = undefined);
    return this.#collecting;
  }

  async #askAll(): Promise<Reports> {
    const { planes, plugins, pluginUnits } = this.#supervisor;
    const isolated = plugins.filter(({ isolation }) => isolation === "worker");
    const [fromPlanes, fromPlugins] = await Promise.all([
      Promise.all(planes.map(({ rpc }) => inTime(rpc?.call("report")))),
      Promise.all(isolated.map(({ name }) => inTime(pluginUnits.get(name)?.worker.rpc?.call("report")))),
    ]);
    const reported = fromPlanes.filter((report) => report !== undefined);
    const byPlugin = new Map<string, readonly PluginReport[]>();
    for (const { name, isolation } of plugins) {
      const reports = isolation === "inline"
        ? reported.map((plane) => plane.plugins[name])
        : [fromPlugins[isolated.findIndex((plugin) => plugin.name === name)]];
      byPlugin.set(name, reports.filter((report) => report !== undefined).map(soundReport)); // its worker is its own
    }
    return { planes: reported, plugins: byPlugin };
  }

  #pluginRows(reports: Reports): PluginRow[] {
    return this.#supervisor.plugins.map((plugin) =>
      this.#pluginRow(plugin, reports.plugins.get(plugin.name) ?? [])
    );
  }

  #pluginRow(
    { name, isolation, module, permissions }: CheckedPlugin,
    reports: readonly PluginReport[],
  ): PluginRow {
    const worker = this.#supervisor.pluginUnits.get(name)?.worker;
    return {
      name,
      isolation,
      module,
      permissions: isolation === "inline" ? PLANE_PERMISSIONS : permissions,
      state: reports.length > 0 ? "up" : "down",
      restarts: worker?.restarts ?? 0,
      status: mergeStatus(reports.map(({ status }) => status)),
    };
  }
}

/** Ready when every part of it is; the first that is not tells why. */
function mergeStatus(statuses: readonly PluginStatus[]): PluginStatus {
  return statuses.find(({ ready }) => !ready) ?? statuses[0] ?? { ready: false, reason: "down" };
}

/** The data planes have the same routes: their counts are added up, and a target is healthy where all say so. */
function mergeRoutes(perPlane: readonly (readonly RouteInfo[])[]): RouteInfo[] {
  const [first = [], ...others] = perPlane;
  return first.map((route, i) => {
    const targets = route.targets?.map((target, j) => {
      const same = others.flatMap((routes) => routes[i]?.targets?.[j] ?? []).filter((one) =>
        one.target === target.target
      );
      return {
        target: target.target,
        healthy: target.healthy && same.every(({ healthy }) => healthy),
        connections: same.reduce((sum, { connections }) => sum + connections, target.connections),
      };
    });
    return { ...route, ...(targets && { targets }) };
  });
}

/** The answer, or nothing when it fails or is late. */
async function inTime<T>(answer: Promise<T> | undefined): Promise<T | undefined> {
  let timer;
  const late = new Promise<undefined>((resolve) =>
    timer = setTimeout(() => resolve(undefined), REPORT_TIMEOUT_MS)
  );
  try {
    return await Promise.race([answer, late]);
  } catch {
    return undefined; // the part has just died, which `up` shows
  } finally {
    clearTimeout(timer);
  }
}
