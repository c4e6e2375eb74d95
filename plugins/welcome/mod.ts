/**
 * The page that a development gateway shows for names that nothing else takes.
 *
 * @module
 */
import {
  type ConnectionInfo,
  type Decision,
  definePlugin,
  type Explanation,
  type Handle,
  namePattern,
  parseNamePattern,
  type PluginDefinition,
  type Terminate,
  z,
} from "../../core/plugin/mod.ts";
import { PageServer } from "./page_server.ts";

/** The plugin's section of the config, checked. Plain data. */
export interface WelcomeConfig {
  /** Patterns in canonical form. */
  readonly names: readonly string[];
  /** Whether plain HTTP gets the page too, whatever its Host: nothing tells it before a request is read. */
  readonly http: boolean;
}

const config: z.ZodType<WelcomeConfig> = z.strictObject({
  names: z.array(namePattern()).prefault(["localhost", "*.localhost"]),
  http: z.boolean().default(false),
});

const HANDLE: Handle = Object.freeze({ kind: "handle" });
const TERMINATE: Terminate = Object.freeze({
  kind: "terminate",
  alpn: Object.freeze(["http/1.1"]),
  then: HANDLE,
});

type Decide = (connection: ConnectionInfo) => Decision | undefined;

function decider({ names, http }: WelcomeConfig): Decide {
  const patterns = names.map(parseNamePattern);
  return ({ protocol, tls }) => {
    if (protocol === "http" && http) return HANDLE;
    const name = tls?.serverName;
    if (protocol !== "tls" || name === undefined) return undefined;
    return patterns.some((pattern) => pattern.matches(name)) ? TERMINATE : undefined;
  };
}

function explain(config: WelcomeConfig, connection: ConnectionInfo): Explanation {
  const decision = decider(config)(connection);
  if (decision === undefined) return { steps: [`It is not HTTPS for ${config.names.join(", ")}`] };
  return { steps: ["The gateway itself answers with its welcome page"], decision };
}

const definition: PluginDefinition<WelcomeConfig> = definePlugin({
  config,
  start(config) {
    const pages = new PageServer();
    let decide = decider(config);
    return {
      route: (connection) => decide(connection),
      handle: (stream, connection, scope) => pages.serve(stream, connection, scope),
      reload: (config) => void (decide = decider(config as WelcomeConfig)),
      [Symbol.asyncDispose]: () => pages[Symbol.asyncDispose](),
    };
  },
  explain,
});

export default definition;
