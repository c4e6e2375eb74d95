import type { ConnectionInfo, Forward, PluginFiles, Terminate } from "../../core/plugin/mod.ts";
import type { MtlsConfig } from "./config.ts";
import type { Identity } from "./identity.ts";
import { forwarder } from "./target.ts";
import { terminator } from "./terminate.ts";
import { Trust } from "./trust.ts";

/** A config with what stood in its files: everything that a reload changes in one step. */
export interface Policy {
  readonly config: MtlsConfig;
  readonly trust: Trust;
  terminate(connection: ConnectionInfo): Terminate;
  forward(to: string, identity: Identity): Forward;
}

/** @throws {GatewayError} `certificate-invalid`, naming the file. */
export async function makePolicy(config: MtlsConfig, files: PluginFiles): Promise<Policy> {
  const trust = await Trust.load(config, files);
  const targetCa = config.targetTls?.ca;
  return {
    config,
    trust,
    terminate: terminator(trust.ca),
    forward: forwarder(config, targetCa === undefined ? undefined : files[targetCa]),
  };
}
