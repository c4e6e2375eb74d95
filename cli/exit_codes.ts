/** What the exit codes of `postern` mean, for scripts. */
export const EXIT = {
  fine: 0,
  /** Wrong config or usage. */
  wrongUsage: 1,
  /** The address is in use, a permission is missing, a part did not come up; or a fault of its own. */
  couldNotStart: 2,
  /** Authentication was refused. */
  lostForGood: 3,
  /** Ended before everything was done: a second signal, or connections that outlived the drain. */
  interrupted: 130,
} as const;
