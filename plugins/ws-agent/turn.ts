import { setImmediate } from "node:timers";

let waiting: (() => void)[] = [];

/**
 * Runs `task` once, behind all that is ready now: what comes together is then sent together. Datagrams that lie ready in a socket are
 * received without a turn of the event loop in between. Must not throw.
 */
export function atTurnsEnd(task: () => void): void {
  if (waiting.push(task) === 1) setImmediate(run);
}

/** Lets everybody else have a turn. */
export function nextTurn(): Promise<void> {
  return new Promise((resolve) => atTurnsEnd(resolve));
}

function run(): void {
  const tasks = waiting;
  waiting = [];
  for (const task of tasks) task();
}
