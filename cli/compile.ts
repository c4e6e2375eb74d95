/**
 * `deno task compile [TARGET…|all] [--into FOLDER]`: binaries of `postern` that need no Deno, one for each target, as
 * `dist/postern-TARGET`. Without a target, one for this machine. What each embeds is the same: the code of the gateway
 * and its plugins, with their packages.
 *
 * The first binary for a target fetches the part of the runtime that goes into it; `DENORT_BIN` names one that is there.
 */
import { messageOf } from "../core/errors.ts";

const ROOT = new URL("..", import.meta.url);

export const TARGETS = [
  "x86_64-unknown-linux-gnu",
  "aarch64-unknown-linux-gnu",
  "x86_64-apple-darwin",
  "aarch64-apple-darwin",
  "x86_64-pc-windows-msvc",
] as const;
export type Target = (typeof TARGETS)[number];

/** As the tasks of deno.json run the gateway. Workers are loaded by name, so nothing else would know of their files. */
const OPTIONS = [
  "--v8-flags=--max-semi-space-size=4",
  "--no-prompt",
  "-A",
  "--include",
  "core",
  "--include",
  "plugins",
] as const;

/** One binary to be made. */
export interface Binary {
  readonly target: Target;
  readonly output: string;
}

/**
 * Which binaries a command line asks for.
 *
 * @param own The target of this machine.
 * @throws {RangeError} With what is wrong with it.
 */
export function planBinaries(args: readonly string[], own: string): Binary[] {
  const names: string[] = [];
  let folder = "dist";
  for (let i = 0; i < args.length; i++) {
    const arg = args[i] ?? "";
    if (arg !== "--into") names.push(arg);
    else folder = args[++i] || fail("--into needs a folder");
  }
  const asked = names.length === 0 ? [own] : names.includes("all") ? TARGETS : names;
  return [...new Set(asked)].map((name) => {
    const target = TARGETS.find((one) => one === name);
    if (target === undefined) fail(`"${name}" is no target; known here: ${TARGETS.join(", ")}, all`);
    return { target, output: `${folder}/postern-${target}${target.includes("windows") ? ".exe" : ""}` };
  });
}

function fail(message: string): never {
  throw new RangeError(message);
}

/** The arguments of `deno` that make it. */
export function compileArgs({ target, output }: Binary): string[] {
  return ["compile", ...OPTIONS, "--target", target, "--output", output, "cli/main.ts"];
}

async function main(): Promise<number> {
  for (const binary of planBinaries(Deno.args, Deno.build.target)) {
    const { code } = await new Deno.Command(Deno.execPath(), { args: compileArgs(binary), cwd: ROOT }).spawn()
      .status;
    if (code !== 0) return code;
  }
  return 0;
}

if (import.meta.main) {
  Deno.exit(
    await main().catch((error) => {
      Deno.stderr.writeSync(new TextEncoder().encode(`compile: ${messageOf(error)}\n`));
      return 1;
    }),
  );
}
