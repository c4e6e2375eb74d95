/// <reference lib="deno.worker" />
import { checkValue } from "../config/issues.ts";
import { type MessageChannelEnd, openRpc } from "../rpc.ts";
import { DEFAULT_ROUTE_TIMEOUT_MS } from "./host.ts";
import type { InspectMethods } from "./inspection.ts";
import { importDefinition } from "./running.ts";

const methods: InspectMethods = {
  async inspect(module, section) {
    const definition = await importDefinition(module);
    const checked = checkValue(definition.config, section ?? {});
    if (!checked.ok) return checked;
    const config = checked.value;
    const names = definition.names?.(config);
    const files = definition.files?.(config);
    const mutualTls = definition.mutualTls?.(config);
    const terminates = definition.terminates?.(config);
    const ports = definition.ports?.(config);
    return {
      ok: true,
      config,
      traits: {
        ...(names && { names }),
        ...(files && { files }),
        ...(mutualTls && { mutualTls }),
        ...(terminates && { terminates }),
        ...(ports && { ports: { first: ports.first, last: ports.last } }),
        routeTimeoutMs: checkedTimeout(definition.routeTimeoutMs?.(config) ?? DEFAULT_ROUTE_TIMEOUT_MS),
      },
    };
  },
  async explain(module, config, connection) {
    const definition = await importDefinition(module);
    return definition.explain?.(config, connection);
  },
};

/** Long enough for anything that a client would wait for. */
const MAX_ROUTE_TIMEOUT_MS = 600_000;

function checkedTimeout(ms: number): number {
  if (ms >= 1 && ms <= MAX_ROUTE_TIMEOUT_MS) return ms;
  throw new TypeError(`routeTimeoutMs() must be from 1 to ${MAX_ROUTE_TIMEOUT_MS}, got ${ms}`);
}

openRpc(self as unknown as MessageChannelEnd, methods);
