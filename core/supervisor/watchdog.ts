import { messageOf } from "../errors.ts";
import type { Log } from "../log.ts";
import { GATEWAY_PID } from "../plugin/child_environment.ts";
import { sweepOrphans } from "./orphans.ts";
import type { CheckedPlugin } from "./plugins.ts";
import { statOf } from "./proc.ts";

/** How long the watchdog may take to end in good order, in milliseconds. */
const STOP_TIMEOUT_MS = 1000;
/** What the script ends with where it can be of no use. */
const EXIT_USELESS = 3;
/** Says that the gateway ends by itself, and so its plugins can see to their own. */
const FAREWELL = "done\n";
/** Where `tr` and `grep` are on most systems, for a gateway that has no PATH. */
const USUAL_PATH = "/usr/local/bin:/usr/bin:/bin";

/**
 * Waits for the end of its standard input, which is the end of the gateway, and then kills every process that has the
 * gateway's id in its environment. After {@link FAREWELL} it spares the children of the process itself, which goes on
 * and may be home to another gateway; what has lost its parent is killed.
 *
 * Processes that began before the gateway are passed over without a look into their environment: that costs two
 * programs each. For `grep` each variable becomes a line, and a newline within one a space, so that no value passes
 * for a variable.
 *
 * $1 is the gateway's process id, $2 the time of its start as in /proc/<pid>/stat.
 */
const SCRIPT = `# Postern's watchdog: ends what a gateway that was killed has left running
trap '' INT TERM HUP
command -v tr >/dev/null && command -v grep >/dev/null && [ -r /proc/self/stat ] || exit ${EXIT_USELESS}
gateway=$1 since=$2 last= pass=0 found=1
while read -r word; do last=$word; done
while [ $found = 1 ] && [ $pass -lt 5 ]; do
  found=0 pass=$((pass + 1))
  for process in /proc/[0-9]*; do
    read -r stat <"$process/stat" || continue
    set -- \${stat##*") "}
    [ "\${20:-$since}" -lt "$since" ] && continue
    [ "$last" = done ] && [ "$2" = "$gateway" ] && continue
    [ "$process/ns/pid" -ef /proc/self/ns/pid ] || continue
    tr '\\n\\000' ' \\n' <"$process/environ" | grep -qxF "${GATEWAY_PID}=$gateway" || continue
    kill -9 "\${process#/proc/}" && found=1
  done
done
`;

/**
 * Sees to it that no program that a plugin starts outlives the gateway: ends what earlier ones have left, and watches
 * over this one. Nothing to do where no plugin may run any. To be called before the plugins start, and while the
 * supervisor still has every permission.
 */
export function guardChildren(plugins: readonly CheckedPlugin[], log: Log): Watchdog | undefined {
  if (plugins.every(({ permissions }) => permissions.run === false)) return undefined;
  sweepOrphans(log);
  return Watchdog.start(log);
}

/**
 * A tiny process beside the gateway, which outlives it when it is killed with SIGKILL, and then kills what it has
 * left running. Only a gateway with a plugin that may run programs needs one.
 */
export class Watchdog {
  readonly #log: Log;
  #child: Deno.ChildProcess | undefined;
  #input: WritableStreamDefaultWriter<Uint8Array> | undefined;
  #watching: Promise<void> = Promise.resolve();
  #deaths = 0;
  #stopping = false;

  private constructor(log: Log) {
    this.#log = log;
  }

  /** Never throws: a gateway without a watchdog works, and its log says that it has none. */
  static start(log: Log): Watchdog {
    const watchdog = new Watchdog(log);
    watchdog.#spawn();
    return watchdog;
  }

  /** Its process id; absent when there is none. */
  get pid(): number | undefined {
    return this.#child?.pid;
  }

  /** Ends it, and waits for that. Harmless when repeated. To be called when every plugin has ended. */
  async stop(): Promise<void> {
    this.#stopping = true;
    const child = this.#child;
    const timer = setTimeout(() => kill(child), STOP_TIMEOUT_MS);
    await this.#closeInput();
    await this.#watching;
    clearTimeout(timer);
  }

  #spawn(): void {
    try {
      const child = this.#child = new Deno.Command("/bin/sh", {
        args: ["-c", SCRIPT, "postern-watchdog", String(Deno.pid), String(ownStartTime())],
        clearEnv: true,
        env: { PATH: Deno.env.get("PATH") || USUAL_PATH },
        cwd: "/",
        stdin: "piped",
        stdout: "null",
        stderr: "null",
        detached: true, // what kills the gateway's whole process group leaves it alive
      }).spawn();
      this.#input = child.stdin.getWriter();
      this.#watching = this.#watch(child);
    } catch (error) {
      this.#tellNone(messageOf(error));
    }
  }

  async #watch(child: Deno.ChildProcess): Promise<void> {
    const { code, signal } = await child.status;
    this.#child = undefined;
    await this.#closeInput();
    if (this.#stopping) return;
    const reason = signal ?? `exit code ${code}`;
    if (code === EXIT_USELESS) this.#tellNone("it needs /proc, tr and grep");
    else if (++this.#deaths > 1) this.#tellNone(`it died again: ${reason}`);
    else {
      this.#log.warn("watchdog_died", { reason });
      this.#spawn();
    }
  }

  #tellNone(reason: string): void {
    this.#log.warn("no_watchdog", { reason });
  }

  async #closeInput(): Promise<void> {
    const input = this.#input;
    this.#input = undefined;
    try {
      await input?.write(new TextEncoder().encode(FAREWELL));
      await input?.close();
    } catch {
      // It has ended already.
    }
  }
}

/** Without leave to look, 0: then the watchdog looks at every process. */
function ownStartTime(): number {
  try {
    return statOf("self")?.startTime ?? 0;
  } catch {
    return 0;
  }
}

function kill(child: Deno.ChildProcess | undefined): void {
  try {
    child?.kill("SIGKILL");
  } catch {
    // It has ended already.
  }
}
