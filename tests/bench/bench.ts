/** What a bench prints, and what it leaves as JSON. */
export interface Outcome {
  readonly text: string;
  readonly json: unknown;
}

export interface Bench {
  readonly name: string;
  /** For the help text. */
  readonly usage: string;
  /** @param say Takes one line about how far it is. */
  run(args: readonly string[], say: (line: string) => void): Promise<Outcome>;
}

/** The command line was wrong: told in one line, without a stack. */
export class UsageError extends Error {}

/** What a figure needs to be read by someone else. */
export async function describeMachine(): Promise<Record<string, unknown>> {
  const cpu = (await Deno.readTextFile("/proc/cpuinfo")).match(/^model name\s*: (.*)$/m)?.[1];
  return { cpu, cores: navigator.hardwareConcurrency, kernel: Deno.osRelease(), deno: Deno.version.deno };
}

/** A number of the command line. Throws {@link UsageError} for what is no number above 0. */
export function positive(text: string): number {
  const value = Number(text);
  if (!(value > 0)) throw new UsageError(`"${text}" is no number above 0`);
  return value;
}
