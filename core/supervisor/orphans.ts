import { messageOf } from "../errors.ts";
import type { Log } from "../log.ts";
import { GATEWAY_PID } from "../plugin/child_environment.ts";
import { ifThere, processIds, statOf, variableOf } from "./proc.ts";

/** A process that outlived the gateway that started it. */
interface Orphan {
  readonly pid: number;
  /** The process id that its gateway had. */
  readonly gateway: number;
  readonly startTime: number;
}

/**
 * Kills what earlier gateways have left running, as they do when they are killed together with their watchdog: the
 * processes of this user that have {@link GATEWAY_PID} in their environment, and whose gateway is gone.
 *
 * Needs every permission, since the runtime lets nobody else look into `/proc`; says so when that, or Linux, is
 * missing.
 *
 * @returns How many were killed.
 */
export function sweepOrphans(log: Log): number {
  if (Deno.build.os !== "linux") return noSweep(log, "only Linux tells of other processes");
  try {
    return findOrphans().filter((orphan) => end(orphan, log)).length;
  } catch (error) {
    return noSweep(log, messageOf(error));
  }
}

function noSweep(log: Log, reason: string): number {
  log.info("no_orphan_sweep", { reason });
  return 0;
}

function findOrphans(): Orphan[] {
  const uid = Deno.uid();
  const namespace = Deno.readLinkSync("/proc/self/ns/pid");
  return processIds().flatMap((pid) => {
    if (pid === Deno.pid || ifThere(() => Deno.statSync(`/proc/${pid}`).uid) !== uid) return [];
    const gateway = Number(variableOf(pid, GATEWAY_PID));
    const startTime = statOf(pid)?.startTime;
    if (!Number.isInteger(gateway) || startTime === undefined) return [];
    // In a container process ids have a meaning of their own.
    if (ifThere(() => Deno.readLinkSync(`/proc/${pid}/ns/pid`)) !== namespace) return [];
    return livesSince(gateway, startTime) || isGateway(pid) ? [] : [{ pid, gateway, startTime }];
  });
}

/** A process of this id that is younger than its supposed child only has the id of the gateway that is gone. */
function livesSince(pid: number, startTime: number): boolean {
  const stat = statOf(pid);
  return stat !== undefined && !["Z", "X"].includes(stat.state) && stat.startTime <= startTime;
}

/** A gateway that a plugin's program started has the variable as well, and serves somebody. */
function isGateway(pid: number): boolean {
  return ifThere(() =>
    Deno.readLinkSync(`/proc/${pid}/exe`) === Deno.execPath() &&
    Deno.readTextFileSync(`/proc/${pid}/cmdline`).split("\0").includes("gateway")
  ) ?? false;
}

/** Whether it was killed: not when another process has got its id in the meantime. */
function end({ pid, gateway, startTime }: Orphan, log: Log): boolean {
  if (statOf(pid)?.startTime !== startTime) return false;
  try {
    Deno.kill(pid, "SIGKILL");
  } catch (error) {
    log.warn("orphan_left", { pid, gateway, reason: messageOf(error) });
    return false;
  }
  log.warn("orphan_killed", { pid, gateway });
  return true;
}
