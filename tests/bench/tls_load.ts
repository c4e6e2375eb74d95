import { temporaryFolder } from "../support/processes.ts";
import { type PemPair, writePem } from "../support/openssl.ts";
import { buildGoProgram } from "./go_program.ts";
import { JobRunner } from "./helper.ts";
import type { TlsJob, TlsResults } from "./jobs.ts";

/** Load by TLS 1.3 with a client certificate: full handshakes, no session is resumed. */
export type TlsLoad = JobRunner<TlsJob, TlsResults>;

/**
 * Builds the load generator and starts it.
 *
 * @param certificate What it shows to the servers.
 */
export async function startTlsLoad(
  stack: AsyncDisposableStack,
  certificate: PemPair,
): Promise<TlsLoad> {
  const folder = stack.use(await temporaryFolder()).path;
  const program = await buildGoProgram("tls_load", folder);
  const files = [
    await writePem(folder, "client", certificate.certificate),
    await writePem(folder, "client-key", certificate.key),
  ];
  return stack.use(new JobRunner<TlsJob, TlsResults>(program, files));
}
