import type { Log } from "../core/log.ts";
import type { AgentEvent } from "../plugins/ws-agent/agent/events.ts";

/** Writes what happens to an agent into the log: an event word, and fields. */
export function logAgentEvent(log: Log, event: AgentEvent): void {
  switch (event.kind) {
    case "connected":
      return log.info("gateway_connected", { connection: event.connection, gateway: event.gateway });
    case "disconnected": {
      const { connection, reason, retryMs, wasConnected } = event;
      return log.warn(wasConnected ? "gateway_lost" : "gateway_unreachable", { connection, reason, retryMs });
    }
    case "replacing":
      return log.info("gateway_replacing", { connection: event.connection, reason: event.reason });
    case "public": {
      const { service, protocol, url, remotePort, target } = event;
      return log.info("service_public", { service, protocol, url, remotePort, target });
    }
    case "refused":
      return log.warn("service_refused", {
        service: event.service,
        reason: event.reason,
        code: event.word,
        retryMs: event.retryMs,
      });
    case "withdrawn":
      return log.info("service_withdrawn", { service: event.service });
    case "target_failed": {
      const { service, target, reason, connection } = event;
      return log.warn("target_failed", { service, target, reason, connection });
    }
    case "handler_failed": {
      const { service, reason, connection } = event;
      return log.warn("handler_failed", { service, reason, connection });
    }
    case "stream_refused":
      return log.warn("stream_refused", { reason: event.reason });
    case "request": {
      const { service, method, path, status, ms, client } = event;
      return log.debug("request", {
        service,
        method,
        path,
        status,
        ms: Math.round(ms * 10) / 10,
        source: client?.host,
      });
    }
  }
}
