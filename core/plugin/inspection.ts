import type { ConfigIssue } from "../config/issues.ts";
import type { Methods } from "../rpc.ts";
import type { ConnectionInfo, Explanation } from "./contract.ts";
import type { PluginTraits } from "./host.ts";

/** What came of checking a plugin's section of the config. */
export type Inspection =
  | { readonly ok: true; readonly config: unknown; readonly traits: PluginTraits }
  | { readonly ok: false; readonly issues: readonly ConfigIssue[] };

/** What a worker without any permission does for the supervisor: it alone runs a plugin's code before its grants are known. */
export interface InspectMethods extends Methods {
  /** Checks the section, fills in defaults. Rejects when the module cannot be loaded. */
  inspect(module: string, section: unknown): Promise<Inspection>;
  /** `undefined` when the plugin only decides at run time. */
  explain(module: string, config: unknown, connection: ConnectionInfo): Promise<Explanation | undefined>;
}
