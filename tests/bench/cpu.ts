/** As `getconf CLK_TCK` says on every Linux that Deno runs on. */
const TICKS_PER_SECOND = 100;

/** Seconds of processor time that a process has taken so far, with all its threads, in user space and in the kernel. Linux only. */
export async function cpuSeconds(pid: number): Promise<number> {
  return secondsIn(await Deno.readTextFile(`/proc/${pid}/stat`));
}

/** As {@link cpuSeconds}, for each of its threads by its id. */
export async function threadSeconds(pid: number): Promise<Map<string, number>> {
  const threads = new Map<string, number>();
  for await (const { name } of Deno.readDir(`/proc/${pid}/task`)) {
    const stat = await Deno.readTextFile(`/proc/${pid}/task/${name}/stat`).catch(() => undefined); // it may end
    if (stat !== undefined) threads.set(name, secondsIn(stat));
  }
  return threads;
}

function secondsIn(stat: string): number {
  // Behind the name in parentheses, which may hold anything: state is field 3, utime 14, stime 15 (proc(5)).
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND;
}

/** The same of several processes together. */
export async function cpuSecondsOf(pids: readonly number[]): Promise<number> {
  const all = await Promise.all(pids.map(cpuSeconds));
  return all.reduce((sum, one) => sum + one, 0);
}
