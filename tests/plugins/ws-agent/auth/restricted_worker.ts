/// <reference lib="deno.worker" />
/**
 * Authenticates as a data plane does: with the network and nothing else, after the leave to read its code is gone.
 * Answers with what became of each token.
 *
 * @module
 */
import { SILENT_LOG } from "../../../../core/log.ts";
import { messageOf } from "../../../../core/errors.ts";
import { sealCode } from "../../../../core/seal.ts";
import { type AuthConfig, createAuthenticator } from "../../../../plugins/ws-agent/auth/mod.ts";

export interface Task {
  readonly config: AuthConfig;
  readonly files: Readonly<Record<string, string>>;
  readonly tokens: readonly string[];
  readonly codeFolder: string;
}

self.onmessage = async ({ data }: MessageEvent<Task>) => {
  try {
    await sealCode([data.codeFolder]);
    using auth = createAuthenticator(data.config, data.files, { log: SILENT_LOG });
    const { signal } = new AbortController();
    const results = await Promise.all(
      data.tokens.map((token) => auth.authenticate(token, "192.0.2.1", { signal })),
    );
    const { state } = await Deno.permissions.query({ name: "read", path: data.codeFolder });
    const told = results.map((result) => "grant" in result ? result.grant.principal : result.refusal.reason);
    self.postMessage([...told, `read: ${state}`]);
  } catch (error) {
    self.postMessage([messageOf(error)]);
  }
};
self.postMessage("ready");
