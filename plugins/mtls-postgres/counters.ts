import type { NumberSample } from "../../core/plugin/mod.ts";
import {
  AUTHENTICATION_FAILURES,
  AUTHORIZATION_FAILURES,
  type Ending,
  ENDINGS,
  type Failure,
} from "./outcome.ts";

/** What the plugin has counted since it started. Every label there can be is there from the start. */
export class Counters {
  readonly #plugin: string;
  readonly #failures = new Map<Failure, number>();
  readonly #endings = new Map<Ending, number>();
  #decisions = 0;
  #decisionSeconds = 0;

  /** @param plugin The plugin's word in the config. */
  constructor(plugin: string) {
    this.#plugin = plugin;
  }

  failed(failure: Failure): void {
    this.#failures.set(failure, this.failures(failure) + 1);
  }

  ended(ending: Ending): void {
    this.#endings.set(ending, (this.#endings.get(ending) ?? 0) + 1);
  }

  /** @param ms How long it took from a verified certificate to a decision. */
  decided(ms: number): void {
    this.#decisions++;
    this.#decisionSeconds += ms / 1000;
  }

  failures(failure: Failure): number {
    return this.#failures.get(failure) ?? 0;
  }

  samples(): NumberSample[] {
    const plugin = this.#plugin;
    return [
      ...AUTHENTICATION_FAILURES.map((reason) =>
        counter("auth_failures_total", "Clients whose identity was not established.", {
          plugin,
          reason,
        }, this.failures(reason))
      ),
      ...AUTHORIZATION_FAILURES.map((reason) =>
        counter("authz_failures_total", "Clients with an identity who did not get to where they wanted.", {
          plugin,
          reason,
        }, this.failures(reason))
      ),
      ...ENDINGS.map((reason) =>
        counter("mtls_connections_ended_total", "Open connections ended since access was gone.", {
          reason,
        }, this.#endings.get(reason) ?? 0)
      ),
      counter(
        "mtls_over_limit_total",
        "Connections refused since their source had failed too often.",
        {},
        this.failures("over_limit"),
      ),
      counter(
        "mtls_authorization_seconds_sum",
        "Time from a verified certificate to a decision.",
        {},
        this.#decisionSeconds,
      ),
      counter(
        "mtls_authorization_seconds_count",
        "Decisions about verified certificates.",
        {},
        this.#decisions,
      ),
    ];
  }
}

export function counter(
  name: string,
  help: string,
  labels: NumberSample["labels"],
  value: number,
): NumberSample {
  return { name, help, type: "counter", labels, value };
}

export function gauge(name: string, help: string, value: number): NumberSample {
  return { name, help, type: "gauge", labels: {}, value };
}
