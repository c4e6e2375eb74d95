/** Time as the plugin sees it, so that tests can have their own. */
export interface Clock {
  /** Milliseconds since some moment, as `performance.now()` counts them; never goes back. */
  monotonic(): number;
  /** Milliseconds since 1970. */
  wall(): number;
  /** Runs `task` once. @returns What takes it back. */
  after(ms: number, task: () => void): () => void;
  /** Runs `task` again and again. @returns What ends it. */
  every(ms: number, task: () => void): () => void;
}

export const SYSTEM_CLOCK: Clock = {
  monotonic: () => performance.now(),
  wall: () => Date.now(),
  after(ms, task) {
    const timer = setTimeout(task, ms);
    return () => clearTimeout(timer);
  },
  every(ms, task) {
    const timer = setInterval(task, ms);
    return () => clearInterval(timer);
  },
};
