/** Why a tunnel does not work; also the label of a metric, so there are no others. */
export const FAILURE_REASONS = [
  "bad_service_token",
  "login_required",
  "certificate_error",
  "edge_refused",
  "edge_unreachable",
  "dropped_connections",
  "port_taken",
  "no_free_port",
  "program_missing",
  "not_permitted",
  "exited",
  "startup_timeout",
] as const;
/** `stopped`: what the plugin itself put an end to, which is no fault. */
export type FailureReason = (typeof FAILURE_REASONS)[number] | "stopped";

/** What went wrong with a tunnel. */
export interface Failure {
  readonly reason: FailureReason;
  /** What is known beyond that, for the log: often the program's own words. Free of secrets. */
  readonly detail: string;
}

const WORDS: Readonly<Record<FailureReason, string>> = {
  bad_service_token: "Cloudflare Access does not accept the service token",
  login_required: "Cloudflare Access asks for a login; configure a serviceToken that it accepts",
  certificate_error: "The certificate of the edge is not accepted",
  edge_refused:
    "The edge refuses the tunnel: the service token has no access, or nothing serves this host name",
  edge_unreachable: "The edge cannot be reached",
  dropped_connections: "The program drops every connection",
  port_taken: "Somebody else took the port",
  no_free_port: "Every port of the range is in use",
  program_missing: "The program is not there",
  not_permitted: "The program may not be run",
  exited: "The program ended",
  startup_timeout: "The program did not listen in time",
  stopped: "The plugin is being stopped",
};

/** One line for a person: what is wrong, and what the program said. */
export function describeFailure({ reason, detail }: Failure): string {
  return detail === "" ? WORDS[reason] : `${WORDS[reason]}: ${detail}`;
}
