import { resolve } from "node:path";

/** What this machine is called; nothing where that is not known. */
export function machineName(): string {
  try {
    return Deno.hostname();
  } catch {
    return "";
  }
}

/** What an agent is called whose config does not say: the same after a restart, and another one for another config or machine. */
export function defaultAgentName(file: string): string {
  return `${machineName()}:${resolve(file)}`;
}
