import denoJson from "../../deno.json" with { type: "json" };
import type { PluginDeclaration } from "../../core/config/config.ts";
import { readDeclarations } from "../../core/config/declarations.ts";
import { parseConfig } from "../../core/config/parse_config.ts";
import { formatProblem } from "../../core/config/problem.ts";
import type { LogEvent } from "../../core/log.ts";
import { LogWriter } from "../../core/supervisor/log_writer.ts";
import type { WorkerTimes } from "../../core/supervisor/managed_worker.ts";
import { prepare } from "../../core/supervisor/prepare.ts";
import { type Prepared, Supervisor } from "../../core/supervisor/supervisor.ts";
import { until } from "./until.ts";

/** One line of the gateway's JSON log. */
export type LoggedEvent = Omit<LogEvent, "time" | "fields"> & Readonly<Record<string, unknown>>;

export interface TestGatewayOptions {
  /** `listeners` and `admin` may be left out: then there is one stream listener, on a free port. */
  readonly yaml: string;
  readonly threads?: number;
  readonly env?: Readonly<Record<string, string>>;
  /** How its workers are watched: shorter times than the real ones. */
  readonly times?: Partial<WorkerTimes>;
  /** Declared beside those of deno.json. */
  readonly declarations?: Readonly<Record<string, PluginDeclaration>>;
}

const LISTENERS = `listeners: [{ address: "127.0.0.1:0" }]\n`;
const ADMIN = `admin: { address: "127.0.0.1:0" }\n`;

/** Reads a config as the gateway would. @throws Error with every problem, one a line. */
export async function prepareYaml(
  { yaml, env = {}, declarations = {} }: TestGatewayOptions,
): Promise<Prepared> {
  const text = `${/^listeners:/m.test(yaml) ? "" : LISTENERS}${/^admin:/m.test(yaml) ? "" : ADMIN}${yaml}`;
  const parsed = parseConfig({ text, file: "postern.yaml" }, {
    env: (name) => env[name],
    declarations: {
      ...readDeclarations(denoJson, new URL("../../deno.json", import.meta.url)),
      ...declarations,
    },
    set: ["log.format=json", "log.level=debug"],
  });
  const preparation = await prepare(parsed);
  if (!preparation.ok) throw new Error(preparation.problems.map(formatProblem).join("\n"));
  return preparation.prepared;
}

/** The whole gateway, in the workers that it really has. Needs every permission that its plugins are granted. */
export class TestGateway implements AsyncDisposable {
  readonly supervisor: Supervisor;
  /** Every line of its log so far. */
  readonly events: readonly LoggedEvent[];

  private constructor(supervisor: Supervisor, events: readonly LoggedEvent[]) {
    this.supervisor = supervisor;
    this.events = events;
  }

  static async start(options: TestGatewayOptions): Promise<TestGateway> {
    const events: LoggedEvent[] = [];
    const writer = new LogWriter("json", {
      write(bytes) {
        for (const line of new TextDecoder().decode(bytes).split("\n")) {
          if (line !== "") events.push(JSON.parse(line));
        }
        return Promise.resolve(bytes.length);
      },
    });
    const supervisor = await Supervisor.start(await prepareYaml(options), {
      threads: options.threads ?? 1,
      writer,
      ...(options.times && { times: options.times }),
    });
    return new TestGateway(supervisor, events);
  }

  /** The port of a listener, by its place in the config. */
  port(index = 0): number {
    const address = this.supervisor.listeners[index]?.address ?? "";
    return Number(address.slice(address.lastIndexOf(":") + 1));
  }

  /** Where the admin side is: `http://127.0.0.1:12345`. */
  get adminUrl(): string {
    return `http://${this.supervisor.adminAddress}`;
  }

  connect(index = 0): Promise<Deno.TcpConn> {
    return Deno.connect({ hostname: "127.0.0.1", port: this.port(index) });
  }

  /** Takes another config, as SIGHUP would. Resolves to what needs a restart. */
  async reload(options: TestGatewayOptions): Promise<readonly string[]> {
    return await this.supervisor.reload(await prepareYaml(options));
  }

  /** The first logged event of this word that `matches`; waits for it. */
  async logged(event: string, matches: (one: LoggedEvent) => boolean = () => true): Promise<LoggedEvent> {
    const find = () => this.events.find((one) => one.event === event && matches(one));
    await until(() => find() !== undefined, { what: `a log line "${event}"` });
    return find()!;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.supervisor.stop();
  }
}
