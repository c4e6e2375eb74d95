import { messageOf } from "../errors.ts";
import type { Log } from "../log.ts";
import { type MessageChannelEnd, openRpc, type Rpc } from "../rpc.ts";
import type { NotifierMethods } from "./contract.ts";

/** What the process is doing, in the words of sd_notify(3). */
export type ServiceState = "ready" | "reloading" | "stopping";

const ASSIGNMENTS: Readonly<Record<ServiceState, string>> = {
  ready: "READY=1",
  reloading: "RELOADING=1",
  stopping: "STOPPING=1",
};

/** A worker takes milliseconds to start, or longer on a machine that starts everything at once. */
const START_TIMEOUT_MS = 30_000;
/** The manager has a queue of its own, so a datagram takes no time unless that is full: it goes out when there is room. */
const TIMEOUT_MS = 1000;
const MAX_STATUS_CHARACTERS = 200;

/**
 * Tells the service manager, systemd, what the process is doing: the protocol of sd_notify(3), one datagram each to
 * the Unix socket that `NOTIFY_SOCKET` names.
 *
 * A manager that can't be reached is told to the log, once, and changes nothing else.
 */
export class ServiceManager implements Disposable {
  readonly #worker: Worker;
  readonly #rpc: Rpc<NotifierMethods>;
  readonly #log: Log;
  #failed = false;
  #toldLate = false;

  private constructor(worker: Worker, log: Log) {
    this.#worker = worker;
    this.#log = log;
    this.#rpc = openRpc<NotifierMethods>(worker as MessageChannelEnd, {});
    worker.onerror = (event) => {
      event.preventDefault();
      this.#fail(event.message);
    };
  }

  /**
   * To be called while the process may still write: the runtime counts the use of a Unix socket as that.
   *
   * @param socket What `NOTIFY_SOCKET` says; without a value there is no manager. The runtime reaches no abstract
   * sockets (`@…`), which systemd has not used for years.
   */
  static async connect(socket: string | undefined, log: Log): Promise<ServiceManager | undefined> {
    if (!socket) return undefined;
    if (!socket.startsWith("/")) {
      log.warn("service_manager_failed", { reason: `"${socket}" is no path` });
      return undefined;
    }
    try {
      return await ServiceManager.#open(socket, log);
    } catch (error) {
      log.warn("service_manager_failed", { reason: messageOf(error) });
      return undefined;
    }
  }

  static async #open(socket: string, log: Log): Promise<ServiceManager> {
    const folder = await Deno.makeTempDir({ prefix: "postern-" });
    try {
      const own = `${folder}/notify`;
      const manager = new ServiceManager(startWorker([own, socket]), log);
      await manager.#ask(START_TIMEOUT_MS, (rpc) => rpc.call("open", own, socket));
      return manager;
    } finally {
      await Deno.remove(folder, { recursive: true }); // nobody answers, so the name is not needed
    }
  }

  /**
   * Tells what the process is doing now. Resolves when the manager has been told, or can't be.
   *
   * @param status One line for `systemctl status`.
   */
  async tell(state: ServiceState, status: string): Promise<void> {
    // deno-lint-ignore no-control-regex -- a line break would begin another assignment
    const line = status.slice(0, MAX_STATUS_CHARACTERS).replaceAll(/[\u0000-\u001f\u007f-\u009f]+/g, " ");
    if (this.#failed) return;
    await this.#ask(TIMEOUT_MS, (rpc) => rpc.call("send", `${ASSIGNMENTS[state]}\nSTATUS=${line}\n`));
  }

  [Symbol.dispose](): void {
    this.#failed = true; // what is still on its way is nobody's business any more
    this.#rpc.close("The process is ending");
    this.#worker.terminate();
  }

  async #ask(timeoutMs: number, question: (rpc: Rpc<NotifierMethods>) => Promise<void>): Promise<void> {
    let timer: ReturnType<typeof setTimeout> | undefined;
    const late = new Promise<void>((resolve) => {
      timer = setTimeout(() => resolve(this.#late(timeoutMs)), timeoutMs);
    });
    const answered = question(this.#rpc).catch((error) => this.#fail(messageOf(error)));
    await Promise.race([answered, late]);
    clearTimeout(timer);
  }

  /** What is late goes out in the end, and so does what is told behind it. */
  #late(timeoutMs: number): void {
    if (this.#toldLate) return;
    this.#toldLate = true;
    this.#log.warn("service_manager_failed", { reason: `no answer in ${timeoutMs} ms` });
  }

  #fail(reason: string): void {
    if (this.#failed) return;
    this.#failed = true;
    this.#log.warn("service_manager_failed", { reason });
    this.#rpc.close(reason);
  }
}

/** It may use these sockets, and do nothing else. */
function startWorker(sockets: readonly string[]): Worker {
  return new Worker(new URL("./worker.ts", import.meta.url), {
    type: "module",
    name: "service-manager",
    deno: {
      permissions: {
        net: sockets.map((path) => `unix:${path}`),
        read: [...sockets],
        write: [...sockets],
        env: false,
        run: false,
        sys: false,
        ffi: false,
        import: false,
      },
    },
  });
}
