/**
 * Who an agent is, and what it may register.
 *
 * @module
 */
import type { PluginFiles } from "../../../core/plugin/mod.ts";
import { AgentAuthenticator, type AuthConfig, type AuthTools } from "./authenticator.ts";

export type { AgentAuthenticator, AuthConfig, AuthTools } from "./authenticator.ts";
export type { Authenticator, AuthRefusal, AuthResult, Grant, PortRange, RequestedService } from "./grant.ts";

/**
 * Opens what tells agents apart by a config. Whoever opens it disposes it.
 *
 * @param files What stands in the files that the config names; only that of `tokens` is looked at.
 * @throws {GatewayError} `config-invalid`: the token file, naming the entry and what is wrong with it.
 */
export function createAuthenticator(
  config: AuthConfig,
  files: PluginFiles,
  tools: AuthTools,
): AgentAuthenticator {
  return new AgentAuthenticator(config, files, tools);
}
