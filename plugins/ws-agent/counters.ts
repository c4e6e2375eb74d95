import type { MetricSample } from "../../core/plugin/mod.ts";
import type { AuthRefusal } from "./auth/grant.ts";
import { Histogram } from "./histogram.ts";
import type { RequestEvent } from "./http/backend.ts";

/** Why an agent did not get a tunnel, beside what the authenticator says and counts itself. */
export type AdmissionFailure = "timeout" | "superseded" | "held" | "limit" | "no_auth" | "registry_failed";

const AUTH_FAILURES = [
  "bad_token",
  "expired",
  "revoked",
  "bad_signature",
  "bad_issuer",
  "controller_refused",
  "controller_unavailable",
  "keys_unavailable",
  "blocked",
  "malformed",
  "internal_error",
] as const satisfies readonly AuthRefusal["reason"][];

const ADMISSION_FAILURES = [
  "timeout",
  "superseded",
  "held",
  "limit",
  "no_auth",
  "registry_failed",
] as const satisfies readonly AdmissionFailure[];

/** Why a service was not registered. */
export const REGISTRATION_REFUSALS = [
  "bad_name",
  "reserved_name",
  "bad_port",
  "port_in_use",
  "no_free_port",
  "not_supported",
  "not_allowed",
  "held",
  "duplicate",
  "limit",
  "internal_error",
] as const;
export type RegistrationRefusal = (typeof REGISTRATION_REFUSALS)[number];

/** From a cached answer to one that is waited for, in seconds. */
const REQUEST_SECONDS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60];
/** What nginx calls it when the client is gone before there is an answer; there is no status of HTTP for that. */
const CLIENT_GONE = 499;

/** What the plugin has counted since it started. Labels come from fixed lists, or are a status of three digits. */
export class Counters {
  readonly #plugin: string;
  readonly #admission = new Map<AdmissionFailure, number>();
  readonly #registrations = new Map<RegistrationRefusal, number>();
  readonly #requests = new Map<number, number>();
  readonly #seconds = new Histogram(REQUEST_SECONDS);
  /** Sessions that ended since the agent broke the protocol. */
  violations = 0;
  /** Streams that agents opened beside the one for control. */
  strayStreams = 0;

  /** @param plugin The plugin's word in the config. */
  constructor(plugin: string) {
    this.#plugin = plugin;
  }

  admissionFailed(reason: AdmissionFailure): void {
    this.#admission.set(reason, (this.#admission.get(reason) ?? 0) + 1);
  }

  registrationRefused(reason: RegistrationRefusal): void {
    this.#registrations.set(reason, (this.#registrations.get(reason) ?? 0) + 1);
  }

  requested({ status, ms }: Pick<RequestEvent, "status" | "ms">): void {
    const code = status >= 100 && status <= 599 ? status : CLIENT_GONE;
    this.#requests.set(code, (this.#requests.get(code) ?? 0) + 1);
    this.#seconds.record(ms / 1000);
  }

  /** @param authFailures As the authenticator has counted them. */
  samples(authFailures: ReadonlyMap<AuthRefusal["reason"], number>): MetricSample[] {
    const plugin = this.#plugin;
    const authFailure = (reason: string, value: number | undefined) =>
      counter("auth_failures_total", "Clients whose identity was not established.", value, {
        plugin,
        reason,
      });
    return [
      ...AUTH_FAILURES.map((reason) => authFailure(reason, authFailures.get(reason))),
      ...ADMISSION_FAILURES.map((reason) => authFailure(reason, this.#admission.get(reason))),
      ...REGISTRATION_REFUSALS.map((reason) =>
        counter(
          "tunnel_registrations_refused_total",
          "Services that agents asked for and did not get.",
          this.#registrations.get(reason),
          { reason },
        )
      ),
      ...[...this.#requests].map(([code, value]) =>
        counter("http_requests_total", "Requests through http tunnels.", value, { code: String(code) })
      ),
      this.#seconds.sample("http_request_seconds", "From a request's first byte to the end of its answer."),
      counter(
        "tunnel_protocol_errors_total",
        "Tunnels that ended since the agent broke the protocol.",
        this.violations,
      ),
      counter("tunnel_stray_streams_total", "Streams that agents should not have opened.", this.strayStreams),
    ];
  }
}

function counter(
  name: string,
  help: string,
  value: number | undefined,
  labels: MetricSample["labels"] = {},
): MetricSample {
  return { name, help, type: "counter", labels, value: value ?? 0 };
}

export function gauge(
  name: string,
  help: string,
  value: number,
  labels: MetricSample["labels"] = {},
): MetricSample {
  return { name, help, type: "gauge", labels, value };
}
