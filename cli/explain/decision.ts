import type { Decision } from "../../core/plugin/contract.ts";

/** A decision on one line. */
export function describeDecision(decision: Decision): string {
  switch (decision.kind) {
    case "forward": {
      const { to, proxyProtocol = "off", tls } = decision;
      const more = [
        ...(proxyProtocol === "off" ? [] : [`PROXY header: ${proxyProtocol}`]),
        ...(tls ? ["TLS"] : []),
      ];
      return `forward to ${[to].flat().join(", then ")}${more.length === 0 ? "" : ` (${more.join(", ")})`}`;
    }
    case "terminate": {
      const asked = decision.clientCertificate && ` (client certificate: ${decision.clientCertificate.mode})`;
      return `end TLS here${asked ?? ""}, then ${
        decision.then ? describeDecision(decision.then) : "ask again"
      }`;
    }
    case "handle":
      return "the plugin answers itself";
    case "open":
      return `relay to a stream that the plugin opens: ${decision.target}`;
    case "handover":
      return `hand over to ${decision.node}, as it came`;
    case "reject":
      return `refused: ${decision.reason}${decision.detail === undefined ? "" : ` (${decision.detail})`}`;
  }
}
