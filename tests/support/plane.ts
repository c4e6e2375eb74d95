import type { LimitsConfig } from "../../core/config/config.ts";
import { DataPlane } from "../../core/data_plane/data_plane.ts";
import { SharedLimits } from "../../core/data_plane/limits.ts";
import { createLog, type LogEvent } from "../../core/log.ts";
import type { Plugin } from "../../core/plugin/contract.ts";
import { inlineHandle, type PluginTraits } from "../../core/plugin/host.ts";
import type { CertificateMaterial } from "../../core/tls/certificates.ts";

/** Small enough that a test sees them, large enough that a slow machine does not. */
export const TEST_LIMITS: LimitsConfig = {
  maxConnections: 1000,
  maxConnectionsPerSource: 0,
  maxAcceptRatePerSource: 0,
  maxPrefaceBytes: 64 * 1024,
  prefaceTimeoutMs: 10_000,
  connectTimeoutMs: 5000,
  idleTimeoutMs: 60_000,
  drainTimeoutMs: 5000,
};

export interface TestPlaneOptions {
  /** In the order in which they are asked; the name is the index. */
  readonly plugins?: readonly Plugin[];
  readonly traits?: Partial<PluginTraits>;
  readonly limits?: Partial<LimitsConfig>;
  readonly certificates?: readonly CertificateMaterial[];
  readonly proxyFrom?: readonly string[];
  readonly kind?: "stream" | "http";
}

/** A data plane in this very thread: what it does can be tested with `--allow-net` alone. */
export class TestPlane implements AsyncDisposable {
  readonly plane: DataPlane;
  readonly events: LogEvent[] = [];
  readonly port: number;

  constructor(
    { plugins = [], traits, limits, certificates = [], proxyFrom = [], kind = "stream" }: TestPlaneOptions,
  ) {
    const settings = {
      limits: { ...TEST_LIMITS, ...limits },
      certificates,
      httpsPort: 8443,
      proxyFrom: { "127.0.0.1:0": proxyFrom },
    };
    const identity = { idPrefix: "t-", sharedLimits: new SharedLimits().memory };
    const log = createLog("test", "debug", (event) => this.events.push(event));
    this.plane = new DataPlane(identity, settings, log);
    const all = { routeTimeoutMs: 5000, ...traits };
    this.plane.usePlugins(plugins.map((plugin, i) => inlineHandle(`plugin-${i}`, all, plugin)));
    this.port = this.plane.listeners.listen({
      address: "127.0.0.1:0",
      hostname: "127.0.0.1",
      port: 0,
      kind,
      proxyFrom,
      reusePort: false,
    });
  }

  connect(): Promise<Deno.TcpConn> {
    return Deno.connect({ hostname: "127.0.0.1", port: this.port });
  }

  /** The value of a counter, summed over its other labels. */
  counted(name: string, labels: Readonly<Record<string, string>> = {}): number {
    const { counters, gauges } = this.plane.snapshot();
    return [...counters, ...gauges]
      .filter((sample) => sample.name === name)
      .filter((sample) => Object.entries(labels).every(([key, value]) => sample.labels[key] === value))
      .reduce((sum, { value }) => sum + value, 0);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.plane.close();
  }
}

/** A plugin that sends every connection to one place. */
export function forwardAll(port: number, more: Partial<Plugin> = {}): Plugin {
  return { route: () => ({ kind: "forward", to: `127.0.0.1:${port}` }), ...more };
}
