/** Time as the plugin sees it, so that tests can have their own. */
export interface Clock {
  /** Milliseconds since some moment; never goes back. */
  monotonic(): number;
  /** Milliseconds since 1970, as certificates count. */
  wall(): number;
  /** Runs `task` once. @returns What takes it back. */
  after(ms: number, task: () => void): () => void;
}

export const SYSTEM_CLOCK: Clock = {
  monotonic: () => performance.now(),
  wall: () => Date.now(),
  after(ms, task) {
    const timer = setTimeout(task, ms);
    return () => clearTimeout(timer);
  },
};
