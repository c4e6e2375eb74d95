import type { AdminConfig } from "../core/config/config.ts";
import { formatProblem } from "../core/config/problem.ts";
import { formatHostPort } from "../core/net/address.ts";
import type { AdminTarget } from "./admin_client.ts";
import { CommandError } from "./command_error.ts";
import { configFile, parseOptions } from "./config_options.ts";
import { EXIT } from "./exit_codes.ts";

/** The options that say which gateway is asked, as commander gives them. */
export interface AdminOptions {
  readonly config?: string;
  readonly admin?: string;
  readonly token?: string;
}

/** What is taken of the config for what the options do not say. */
export type AdminSection = Pick<AdminConfig, "hostname" | "port" | "token">;

/**
 * Where to ask, and with which token: the options, then the environment, then the config.
 *
 * @param adminConfig Throws `CommandError`.
 */
export async function findAdminTarget(
  { admin, token = undefined, config }: AdminOptions,
  env: (name: string) => string | undefined,
  adminConfig: (config: string | undefined) => Promise<AdminSection> = readAdminConfig,
): Promise<AdminTarget> {
  const given = token ?? (env("POSTERN_ADMIN_TOKEN") || undefined);
  if (admin !== undefined) return { admin, token: given };
  const configured = await adminConfig(config);
  return {
    admin: formatHostPort({ host: dialable(configured.hostname), port: configured.port }),
    token: given ?? configured.token,
  };
}

/** Where to dial what listens on every address. */
function dialable(hostname: string): string {
  if (hostname === "0.0.0.0") return "127.0.0.1";
  return hostname === "::" ? "::1" : hostname;
}

async function readAdminConfig(config: string | undefined): Promise<AdminConfig> {
  const chosen = { ...(config !== undefined && { config }), set: [] };
  const result = await parseOptions(chosen, await configFile(chosen));
  if (result.ok) return result.config.admin;
  throw new CommandError(result.problems.map(formatProblem).join("\n"), EXIT.wrongUsage);
}
