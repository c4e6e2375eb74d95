import { type AgentSettings, formatGateway, formatTarget } from "../../plugins/ws-agent/agent/mod.ts";
import {
  type Address,
  denoEnvironment,
  freePort,
  hostPort,
  owning,
  startProgram,
} from "../support/processes.ts";
import { RUN } from "./peers.ts";
import { GO_TUNNEL_PROGRAM } from "./tunnel_detours.ts";
import type { HttpTarget, TunnelTarget } from "./tunnel_jobs.ts";
import { type Detour, DOMAIN, startPeerProgram } from "./tunnel_kinds.ts";
import { HOSTNAME } from "./tunnel_load.ts";

const CLI = new URL("../../cli/main.ts", import.meta.url).pathname;
const START = { deadlineMs: 30_000 };
const GO_TUNNEL_HOST = `go-tunnel.${DOMAIN}`;

/** Where a gateway takes agents, and the file with its CA. */
export interface TunnelGateway {
  readonly address: AgentSettings["gateway"];
  readonly ca: string;
  /** For files of this peer. */
  readonly folder: string;
}

/** Brings a private service to a local port, as a user would. */
export function startAccess(
  { address, ca, folder }: TunnelGateway,
  { service, token }: { readonly service: string; readonly token: string },
): Promise<Detour<TunnelTarget>> {
  return owning(async (stack) => {
    const local = { hostname: HOSTNAME, port: freePort() };
    const args = [...RUN, CLI, "access", service, "--local-port", `${local.port}`];
    const program = stack.use(
      await startProgram(Deno.execPath(), {
        args: [...args, "--gateway", formatGateway(address), "--ca", ca],
        env: { ...denoEnvironment(), POSTERN_TOKEN: token, XDG_RUNTIME_DIR: folder },
        cwd: folder,
      }),
    );
    await program.waitForOutput(new RegExp(hostPort(local)), START);
    return { pid: program.pid, to: { address: local } };
  });
}

/** Starts an agent of go-tunnel that serves `target`, with the config file that its users have. */
export function startGoTunnel(
  { address, ca, folder }: TunnelGateway,
  { secret, target, reached }: {
    /** Of its tokens. */
    readonly secret: string;
    readonly target: Address;
    /** Where the gateway takes plain HTTP. */
    readonly reached: Address;
  },
): Promise<Detour<HttpTarget>> {
  return owning(async (stack) => {
    const config = {
      tunnel_addr: `${HOSTNAME}:${address.port}`,
      skip_tls_verify: false,
      jwt_secret: secret,
      jwt_issuer: "mytunnel",
      jwt_expire_sec: 3600,
      tunnels: [{
        hostname: GO_TUNNEL_HOST,
        target: formatTarget({ host: target.hostname, port: target.port, tls: false }),
        mode: "http",
      }],
    };
    await Deno.writeTextFile(`${folder}/config.yaml`, JSON.stringify(config)); // JSON is YAML
    const program = await startPeerProgram(stack, GO_TUNNEL_PROGRAM, {
      cwd: folder,
      env: { SSL_CERT_FILE: ca },
      stopSignal: "SIGKILL",
    });
    await program.waitForOutput(/registered routes/, START);
    return { pid: program.pid, to: { address: reached, host: GO_TUNNEL_HOST } };
  });
}
