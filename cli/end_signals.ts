const SIGNALS = ["SIGINT", "SIGTERM"] as const;

/** What tells a command to end; a test has its own. */
export interface EndSignals {
  /** Resolves when it is told once more. */
  next(): Promise<void>;
  /** Ends the listening. */
  forget(): void;
}

/** SIGINT (Ctrl-C) and SIGTERM. */
export function endSignals(): EndSignals {
  let told = 0, taken = 0;
  let wake = () => {};
  const onSignal = () => {
    told++;
    wake();
  };
  for (const name of SIGNALS) Deno.addSignalListener(name, onSignal);
  return {
    async next() {
      if (told === taken) await new Promise<void>((resolve) => wake = resolve);
      taken++;
    },
    forget() {
      for (const name of SIGNALS) Deno.removeSignalListener(name, onSignal);
    },
  };
}
