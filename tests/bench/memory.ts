const SETTLE_STEP_MS = 250;
const SETTLE_STEPS = 12;

/** Resident memory of a process and all its descendants, in bytes. Linux only. */
export async function residentBytes(pid: number): Promise<number> {
  const pids = await familyOf(pid);
  const sizes = await Promise.all(pids.map(async (member) => {
    const status = await Deno.readTextFile(`/proc/${member}/status`);
    return Number(status.match(/^VmRSS:\s+(\d+) kB/m)?.[1] ?? 0) * 1024;
  }));
  return sizes.reduce((sum, size) => sum + size, 0);
}

/** {@link residentBytes} once it has stopped moving by more than 1 %, or after three seconds. */
export async function settledBytes(pid: number): Promise<number> {
  let last = await residentBytes(pid);
  for (let step = 0, quiet = 0; step < SETTLE_STEPS && quiet < 2; step++) {
    await new Promise((resolve) => setTimeout(resolve, SETTLE_STEP_MS));
    const now = await residentBytes(pid);
    quiet = Math.abs(now - last) < last / 100 ? quiet + 1 : 0;
    last = now;
  }
  return last;
}

async function familyOf(pid: number): Promise<number[]> {
  const children: number[] = [];
  for await (const { name: thread } of Deno.readDir(`/proc/${pid}/task`)) {
    const line = await Deno.readTextFile(`/proc/${pid}/task/${thread}/children`);
    children.push(...line.split(" ").filter((text) => text !== "").map(Number));
  }
  return [pid, ...(await Promise.all(children.map(familyOf))).flat()];
}
