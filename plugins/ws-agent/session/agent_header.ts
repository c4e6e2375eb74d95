/** The header of the upgrade request in which an agent says which of its connections this is. */
export const AGENT_HEADER = "postern-agent";

/** Which run of an agent a connection is of, and which of that run's parallel connections it is. */
export interface AgentRun {
  /** Milliseconds since 1970 when the agent was started. */
  readonly epoch: number;
  /** Counts from 0. */
  readonly slot: number;
}

/** More than any agent makes use of; a holder has one session in each at most. */
const MAX_SLOT = 63;

/**
 * Reads `epoch=1700000000000; connection=0`. Parameters that are not known are passed over.
 *
 * @param value Absent: an agent that says nothing, which has one connection and was started right now.
 * @param now Milliseconds since 1970.
 * @returns `undefined` when it is malformed.
 */
export function parseAgentHeader(value: string | undefined, now: number): AgentRun | undefined {
  if (value === undefined) return { epoch: now, slot: 0 };
  const parameters = new Map<string, string>();
  for (const part of value.split(";")) {
    const [, name, digits] = /^\s*([a-z]+)=([\w.~-]+)\s*$/.exec(part) ?? [];
    if (name === undefined || digits === undefined || parameters.has(name)) return undefined;
    parameters.set(name, digits);
  }
  const epoch = numberOf(parameters.get("epoch"), now);
  const slot = numberOf(parameters.get("connection"), 0);
  return epoch === undefined || slot === undefined || slot > MAX_SLOT ? undefined : { epoch, slot };
}

function numberOf(digits: string | undefined, absent: number): number | undefined {
  if (digits === undefined) return absent;
  const value = /^\d{1,16}$/.test(digits) ? Number(digits) : NaN;
  return Number.isSafeInteger(value) ? value : undefined;
}
