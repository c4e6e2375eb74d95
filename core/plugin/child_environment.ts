/** The variable by which the gateway knows the processes that its plugins started. */
export const GATEWAY_PID = "POSTERN_GATEWAY_PID";

/**
 * What a plugin adds to the environment of every program that it starts.
 *
 * By it the gateway finds what is still running after it was killed and no plugin could stop anything any more. It
 * survives `clearEnv`, since it is given along with the program's other variables:
 * `new Deno.Command(program, { clearEnv: true, env: { ...childEnvironment(), HOME: home } })`. Needs no permission.
 */
export function childEnvironment(): Readonly<Record<string, string>> {
  return { [GATEWAY_PID]: String(Deno.pid) };
}
