import { NO_PERMISSIONS } from "../config/permissions.ts";
import { GatewayError, messageOf } from "../errors.ts";
import type { ConnectionInfo, Explanation } from "../plugin/contract.ts";
import type { Inspection, InspectMethods } from "../plugin/inspection.ts";
import { type MessageChannelEnd, openRpc, type Rpc } from "../rpc.ts";
import { codeFolders } from "./code_folders.ts";

/** How long a plugin's module may take to load and to check its section, in milliseconds. */
const INSPECT_TIMEOUT_MS = 15_000;

/**
 * Runs a plugin's own checks in a worker that may read code and do nothing else: its real permissions are known
 * only once its section of the config is.
 *
 * @throws {GatewayError} `plugin-failed`: the module cannot be loaded, or does not answer.
 */
export function inspectPlugin(name: string, module: string, section: unknown): Promise<Inspection> {
  return withInspector(name, module, (rpc) => rpc.call("inspect", module, section));
}

/**
 * What a plugin would do with a connection; `undefined` when it only decides at run time.
 *
 * @param config As {@link inspectPlugin} gave it out.
 * @throws {GatewayError} `plugin-failed`.
 */
export function explainPlugin(
  name: string,
  module: string,
  config: unknown,
  connection: ConnectionInfo,
): Promise<Explanation | undefined> {
  return withInspector(name, module, (rpc) => rpc.call("explain", module, config, connection));
}

async function withInspector<T>(
  name: string,
  module: string,
  ask: (rpc: Rpc<InspectMethods>) => Promise<T>,
): Promise<T> {
  const permissions = { ...NO_PERMISSIONS, read: codeFolders(module) };
  const worker = new Worker(new URL("../plugin/inspect_worker.ts", import.meta.url), {
    type: "module",
    name: `inspect:${name}`,
    deno: { permissions },
  });
  const rpc = openRpc<InspectMethods>(worker as MessageChannelEnd, {});
  worker.onerror = (event) => {
    event.preventDefault();
    rpc.close(event.message);
  };
  const timer = setTimeout(() => rpc.close(`no answer in ${INSPECT_TIMEOUT_MS} ms`), INSPECT_TIMEOUT_MS);
  try {
    return await ask(rpc);
  } catch (error) {
    throw new GatewayError("plugin-failed", `Plugin "${name}" cannot be loaded: ${messageOf(error)}`, {
      cause: error,
    });
  } finally {
    clearTimeout(timer);
    worker.terminate();
  }
}
