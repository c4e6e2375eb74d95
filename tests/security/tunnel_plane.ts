import { createLog } from "../../core/log.ts";
import type { Plugin } from "../../core/plugin/contract.ts";
import { LocalRegistry } from "../../core/registry/local.ts";
import { createToken, digestOf } from "../../plugins/ws-agent/auth/token.ts";
import { wsAgentConfig } from "../../plugins/ws-agent/config.ts";
import wsAgent from "../../plugins/ws-agent/mod.ts";
import { TestPlane } from "../support/plane.ts";
import { pluginContext } from "../support/plugin_context.ts";
import { owning } from "../support/processes.ts";
import { respond, TestAgent } from "../support/test_agent.ts";
import { certificateFor } from "./static_plane.ts";

const DOMAIN = "example.com";
const ENDPOINT = `tunnel.${DOMAIN}`;

/** What the services behind a {@link tunnelPlane} answer, each its own name. */
export function reached(name: string): string {
  return `reached ${name}\n`;
}

export interface TunnelPlane {
  readonly plane: TestPlane;
  /** PEM of the CA of the one certificate, which is for the endpoint and for every service. */
  readonly ca: string;
  /** The agent of each service. */
  readonly agents: Readonly<Record<string, TestAgent>>;
}

/**
 * A data plane in this thread whose one plugin is the real `ws-agent`, and an agent for each of these http services, which
 * came in through it: what a stranger meets, with `--allow-net` alone.
 *
 * @param names `NAME` of `NAME.example.com`.
 */
export function tunnelPlane(...names: readonly string[]): Promise<TunnelPlane & AsyncDisposable> {
  return owning(async (stack) => {
    const { authority, material } = await certificateFor(
      ENDPOINT,
      ...names.map((name) => `${name}.${DOMAIN}`),
    );
    const token = createToken();
    const plugin = await startPlugin(stack, token);
    const plane = stack.use(new TestPlane({ plugins: [plugin], certificates: [material] }));
    const ca = authority.certificate;
    const agents: Record<string, TestAgent> = {};
    for (const [client, name] of names.entries()) {
      const tls = await Deno.startTls(await plane.connect(), { hostname: ENDPOINT, caCerts: [ca] });
      const agent = stack.use(
        await TestAgent.start(tls, { token, client, host: ENDPOINT, serve: respond(reached(name)) }),
      );
      await agent.serve({ name, protocol: "http" });
      agents[name] = agent;
    }
    return { plane, ca, agents };
  });
}

async function startPlugin(stack: AsyncDisposableStack, token: string): Promise<Plugin> {
  const registry = stack.adopt(new LocalRegistry(), (one) => one[Symbol.dispose]());
  const node = "data-plane-0";
  const unused = () => {
    throw new TypeError("There is one data plane, and no port");
  };
  const entry = `- { id: t1, sha256: "${digestOf(token).toHex()}", created: 2026-01-01 }\n`;
  const plugin = await wsAgent.start(
    wsAgentConfig.parse({ domain: DOMAIN, tokens: "tokens.yaml" }),
    pluginContext({
      name: "ws-agent",
      log: createLog("plugin:ws-agent", "error", () => {}),
      files: { "tokens.yaml": entry },
      plane: {
        node,
        registry: registry.at(node),
        nodes: 1,
        isFirst: true,
        neighbours: [],
        ports: [],
        httpsPort: 443,
        listen: unused,
        listenDatagrams: unused,
        openOn: unused,
      },
    }),
  );
  stack.defer(() => plugin[Symbol.asyncDispose]?.());
  return plugin;
}
