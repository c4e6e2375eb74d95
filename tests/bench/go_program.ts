import { findProgram } from "../support/permissions.ts";
import { denoEnvironment, runOrThrow } from "../support/processes.ts";
import { UsageError } from "./bench.ts";

const BUILD_DEADLINE_MS = 180_000;

/**
 * Builds a load generator of this folder, which needs Go's own library only.
 *
 * @param name That of its folder beside this file.
 * @param into The folder for the program, which is named as its source.
 * @returns The path of the program.
 */
export async function buildGoProgram(name: string, into: string): Promise<string> {
  if (findProgram("go") === undefined) {
    throw new UsageError("The load generator of this bench is written in Go: install it, or add it to PATH");
  }
  const program = `${into}/${name}`;
  await runOrThrow("go", {
    args: ["build", "-trimpath", "-buildvcs=false", "-o", program, "."],
    // Nothing is fetched: it needs no modules, and any compiler of the last years will do.
    env: { ...denoEnvironment(), GOPROXY: "off", GOTOOLCHAIN: "local" },
    cwd: new URL(`./${name}/`, import.meta.url).pathname,
    deadlineMs: BUILD_DEADLINE_MS,
  });
  return program;
}
