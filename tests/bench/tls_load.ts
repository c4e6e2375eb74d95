import { findProgram } from "../support/permissions.ts";
import { denoEnvironment, runOrThrow, temporaryFolder } from "../support/processes.ts";
import { type PemPair, writePem } from "../support/openssl.ts";
import { UsageError } from "./bench.ts";
import { JobRunner } from "./helper.ts";
import type { TlsJob, TlsResults } from "./jobs.ts";

const SOURCE = new URL("./tls_load/", import.meta.url).pathname;
const BUILD_DEADLINE_MS = 180_000;

/** Load by TLS 1.3 with a client certificate: full handshakes, no session is resumed. */
export type TlsLoad = JobRunner<TlsJob, TlsResults>;

/**
 * Builds the load generator, which needs Go's own library only, and starts it.
 *
 * @param certificate What it shows to the servers.
 */
export async function startTlsLoad(
  stack: AsyncDisposableStack,
  certificate: PemPair,
): Promise<TlsLoad> {
  if (findProgram("go") === undefined) {
    throw new UsageError("The load generator of this bench is written in Go: install it, or add it to PATH");
  }
  const folder = stack.use(await temporaryFolder()).path;
  const program = `${folder}/tls_load`;
  await runOrThrow("go", {
    args: ["build", "-trimpath", "-buildvcs=false", "-o", program, "."],
    // Nothing is fetched: it needs no modules, and any compiler of the last years will do.
    env: { ...denoEnvironment(), GOPROXY: "off", GOTOOLCHAIN: "local" },
    cwd: SOURCE,
    deadlineMs: BUILD_DEADLINE_MS,
  });
  const files = [
    await writePem(folder, "client", certificate.certificate),
    await writePem(folder, "client-key", certificate.key),
  ];
  return stack.use(new JobRunner<TlsJob, TlsResults>(program, files));
}
