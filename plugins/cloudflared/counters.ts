import type { NumberSample } from "../../core/plugin/mod.ts";
import { FAILURE_REASONS, type FailureReason } from "./failure.ts";

/** What has happened since the plugin started. */
export class Counters {
  startsOk = 0;
  startsFailed = 0;
  restarts = 0;
  readonly #failures = new Map<FailureReason, number>();

  failed(reason: FailureReason): void {
    this.#failures.set(reason, (this.#failures.get(reason) ?? 0) + 1);
  }

  samples(): NumberSample[] {
    return [
      counter(
        "cloudflared_restarts_total",
        "Restarts after the program had ended by itself.",
        {},
        this.restarts,
      ),
      starts("ok", this.startsOk),
      starts("failed", this.startsFailed),
      ...FAILURE_REASONS.map((reason) =>
        counter(
          "cloudflared_failures_total",
          "What went wrong with tunnels.",
          { reason },
          this.#failures.get(reason) ?? 0,
        )
      ),
    ];
  }
}

function starts(result: string, value: number): NumberSample {
  return counter("cloudflared_starts_total", "Starts of the program.", { result }, value);
}

function counter(name: string, help: string, labels: Record<string, string>, value: number): NumberSample {
  return { name, help, type: "counter", labels, value };
}
