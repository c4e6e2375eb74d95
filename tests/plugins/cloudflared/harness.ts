import assert from "node:assert/strict";
import { checkValue } from "../../../core/config/issues.ts";
import { createLog, type LogEvent } from "../../../core/log.ts";
import type { ConnectionInfo, Decision, Forward, Reject } from "../../../core/plugin/contract.ts";
import { type CloudflaredConfig, cloudflaredConfig } from "../../../plugins/cloudflared/config.ts";
import { CloudflaredPlugin } from "../../../plugins/cloudflared/plugin.ts";
import type { ProcessReport } from "../../../plugins/cloudflared/report.ts";
import { systemTools, type Tools } from "../../../plugins/cloudflared/tools.ts";
import { type Behaviour, freeRange, installStandIn, type StandIn } from "../../support/cloudflared.ts";
import { until } from "../../support/until.ts";
import { tlsConnection } from "../connection.ts";

export const NAME = "db.customer.example.com";
export const HOST = "cft-db-customer.example.com";

/** The plugin with a stand-in to start, in this very process. */
export class Harness implements AsyncDisposable {
  readonly plugin: CloudflaredPlugin;
  readonly standIn: StandIn;
  readonly events: LogEvent[] = [];
  readonly section: Readonly<Record<string, unknown>>;

  private constructor(standIn: StandIn, section: Readonly<Record<string, unknown>>, tools: Tools) {
    this.standIn = standIn;
    this.section = {
      command: standIn.path,
      names: ["*.example.com", "*.customer.example.com"],
      ports: freeRange(),
      restart: { backoff: "30ms", max: 3 },
      ...section,
    };
    const log = createLog("test", "debug", (event) => this.events.push(event));
    this.plugin = new CloudflaredPlugin(parse(this.section), log, tools);
  }

  static async start(
    behaviour: Behaviour = {},
    section: Readonly<Record<string, unknown>> = {},
    tools: Partial<Tools> = {},
  ): Promise<Harness> {
    return new Harness(await installStandIn(behaviour), section, {
      ...systemTools(),
      random: () => 0, // ports are handed out from the first one on
      ...tools,
    });
  }

  /** Asks for a connection to `name`. */
  async ask(name: string = NAME, options: { signal?: AbortSignal; id?: string } = {}): Promise<Asked> {
    const info = tlsConnection(name, options.id === undefined ? {} : { id: options.id });
    const { signal = new AbortController().signal } = options;
    return new Asked(this, info, await this.plugin.route(info, { signal }));
  }

  /** The one tunnel of a host name, as `status` has it. */
  process(hostname: string = HOST): ProcessReport | undefined {
    const processes = this.plugin.status().details?.["processes"] as readonly ProcessReport[];
    return processes.find((one) => one.hostname === hostname);
  }

  /** The log lines with this event word. */
  logged(event: string): LogEvent[] {
    return this.events.filter((one) => one.event === event);
  }

  metric(name: string, labels: Readonly<Record<string, string>> = {}): number {
    const found = this.plugin.metrics().find((sample) =>
      sample.name === name && Object.entries(labels).every(([key, value]) => sample.labels[key] === value)
    );
    return found?.value ?? assert.fail(`No metric ${name} ${JSON.stringify(labels)}`);
  }

  async untilState(state: string, hostname: string = HOST): Promise<void> {
    await until(() => (this.process(hostname)?.state ?? "none") === state, {
      what: () => `${hostname} to be ${state}: ${JSON.stringify(this.process(hostname))}`,
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.plugin[Symbol.asyncDispose]();
    assert.deepEqual(this.standIn.alive, [], "processes were left behind");
    await this.standIn[Symbol.asyncDispose]();
  }
}

/** A connection that was asked about. */
export class Asked {
  readonly info: ConnectionInfo;
  readonly decision: Decision | undefined;
  readonly #harness: Harness;

  constructor(harness: Harness, info: ConnectionInfo, decision: Decision | undefined) {
    this.#harness = harness;
    this.info = info;
    this.decision = decision;
  }

  /** Where it is to go. Fails the test when it was refused. */
  get forward(): Forward & { readonly port: number } {
    const { decision } = this;
    assert.equal(decision?.kind, "forward", JSON.stringify(decision));
    assert.ok(decision?.kind === "forward" && typeof decision.to === "string");
    return { ...decision, port: Number(decision.to.split(":")[1]) };
  }

  /** Why it was refused. Fails the test when it was not. */
  get reject(): Reject {
    const { decision } = this;
    assert.ok(decision?.kind === "reject", JSON.stringify(decision));
    return decision;
  }

  /** Ends it. */
  end(result = "ok", bytesOut = 100): void {
    this.#harness.plugin.closed({ connection: this.info.id, bytesIn: 100, bytesOut, ms: 1, result });
  }

  /** Connects where it is to go, as the core does, and ends it by what came back. */
  async use(): Promise<string> {
    const { port, retryMs } = this.forward;
    let bytesOut = 0;
    let text = "";
    try {
      const conn = await dial(port, retryMs);
      if (conn === undefined) {
        this.end("connect_failed", 0);
        return "";
      }
      try {
        await conn.write(new TextEncoder().encode("ping"));
        const buffer = new Uint8Array(100);
        bytesOut = await conn.read(buffer) ?? 0;
        text = new TextDecoder().decode(buffer.subarray(0, bytesOut));
      } finally {
        conn.close();
      }
    } catch (error) {
      if (!(error instanceof Deno.errors.ConnectionReset)) throw error;
    }
    this.end(bytesOut > 0 ? "ok" : "no_answer", bytesOut);
    return text;
  }
}

/** Nothing when nobody listens, for as long as the core would try. */
async function dial(port: number, retryMs = 0): Promise<Deno.TcpConn | undefined> {
  for (const end = performance.now() + retryMs; performance.now() < end;) {
    try {
      return await Deno.connect({ hostname: "127.0.0.1", port });
    } catch (error) {
      if (!(error instanceof Deno.errors.ConnectionRefused)) throw error;
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  }
  return undefined;
}

/** The section of a config, checked. */
export function parse(section: unknown): CloudflaredConfig {
  const checked = checkValue(cloudflaredConfig, section);
  if (!checked.ok) assert.fail(JSON.stringify(checked.issues));
  return checked.value;
}
