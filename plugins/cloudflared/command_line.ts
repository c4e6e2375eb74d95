import { childEnvironment } from "../../core/plugin/mod.ts";
import type { ServiceToken } from "./config.ts";

/** What the program is told where everybody on the machine can read it: no secrets. */
export function argumentsFor(hostname: string, port: number): string[] {
  return ["access", "tcp", "--hostname", hostname, "--url", `localhost:${port}`];
}

/**
 * The program's whole environment. The token goes this way because arguments are there for everybody to read.
 *
 * There is no PATH and no DISPLAY, so that a login that it might want to do finds no browser. Its home is one that
 * cannot come to be, not even for root, so it neither finds somebody's login nor leaves one behind. Each process has
 * one of its own, so that none waits for a lock of another.
 */
export function environmentFor(port: number, token: ServiceToken | undefined): Record<string, string> {
  return {
    ...childEnvironment(),
    HOME: `/dev/null/cloudflared-${port}`,
    ...(token && { TUNNEL_SERVICE_TOKEN_ID: token.id, TUNNEL_SERVICE_TOKEN_SECRET: token.secret }),
  };
}
