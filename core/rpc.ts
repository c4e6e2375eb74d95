import { GatewayError, messageOf } from "./errors.ts";

/** What one side of a channel answers. Arguments and results are plain data (structured clone). */
// deno-lint-ignore no-explicit-any -- parameters are contravariant: `unknown[]` would fit no method at all
export type Methods = Record<string, (...args: any[]) => unknown>;

/** A port, a worker, or a worker's own `self`: whatever carries messages. */
export interface MessageChannelEnd {
  // deno-lint-ignore no-explicit-any -- the DOM types of the three ends have nothing narrower in common
  onmessage: ((event: MessageEvent) => any) | null;
  postMessage(message: unknown, transfer?: Transferable[]): void;
}

/** The other side of a channel. */
export interface Rpc<Remote extends Methods> {
  /** Calls a method and waits for its answer. Rejects with what the method threw, or when the channel closes. */
  call<M extends keyof Remote & string>(
    method: M,
    ...args: Parameters<Remote[M]>
  ): Promise<Awaited<ReturnType<Remote[M]>>>;
  /** As `call`, handing over `transfer` (for ports). */
  callWith<M extends keyof Remote & string>(
    transfer: Transferable[],
    method: M,
    ...args: Parameters<Remote[M]>
  ): Promise<Awaited<ReturnType<Remote[M]>>>;
  /** Calls a method whose answer nobody waits for. */
  notify<M extends keyof Remote & string>(method: M, ...args: Parameters<Remote[M]>): void;
  /** Ends every pending call with `reason`, and every later one. Does not close the port: its owner does. */
  close(reason: string): void;
}

/** Calls carry an id above 0; a notification carries 0 and is never answered. */
type Message =
  | { readonly id: number; readonly method: string; readonly args: unknown[] }
  | { readonly id: number; readonly value: unknown }
  | { readonly id: number; readonly error: { readonly message: string; readonly code?: string } };

interface Pending {
  resolve(value: unknown): void;
  reject(error: Error): void;
}

/**
 * Speaks calls and answers over one message channel, both ways. There are no timers here: a caller that needs a
 * deadline has one already, and many calls share it.
 *
 * @param local What the other side may call; anything else that it names is answered with an error.
 */
export function openRpc<Remote extends Methods>(end: MessageChannelEnd, local: Methods): Rpc<Remote> {
  const pending = new Map<number, Pending>();
  let lastId = 0;
  let closed: string | undefined;

  const answer = (message: Message) => {
    if (closed === undefined) end.postMessage(message);
  };
  const serve = async (id: number, method: string, args: unknown[]) => {
    try {
      const value = Object.hasOwn(local, method) ? local[method]!(...args) : unknownMethod(method);
      const settled = value instanceof Promise ? await value : value;
      if (id !== 0) answer({ id, value: settled });
    } catch (error) {
      if (id !== 0) answer({ id, error: describe(error) });
    }
  };

  end.onmessage = ({ data }: MessageEvent<unknown>) => {
    if (!isMessage(data)) return; // somebody else's code has the other end too, and may post what it likes
    if ("method" in data) {
      void serve(data.id, data.method, data.args);
      return;
    }
    const call = pending.get(data.id);
    if (call === undefined) return;
    pending.delete(data.id);
    if ("error" in data) call.reject(revive(data.error));
    else call.resolve(data.value);
  };

  const send = (transfer: Transferable[], method: string, args: unknown[]) =>
    new Promise<unknown>((resolve, reject) => {
      if (closed !== undefined) {
        reject(new GatewayError("rpc-closed", closed));
        return;
      }
      const id = ++lastId;
      pending.set(id, { resolve, reject });
      try {
        end.postMessage({ id, method, args }, transfer);
      } catch (error) { // not plain data: only this call is at fault
        pending.delete(id);
        reject(error);
      }
    });

  return {
    call: (method, ...args) => send([], method, args) as Promise<never>,
    callWith: (transfer, method, ...args) => send(transfer, method, args) as Promise<never>,
    notify(method, ...args) {
      if (closed === undefined) end.postMessage({ id: 0, method, args });
    },
    close(reason) {
      closed ??= reason;
      for (const call of pending.values()) call.reject(new GatewayError("rpc-closed", reason));
      pending.clear();
    },
  };
}

function isMessage(data: unknown): data is Message {
  if (typeof data !== "object" || data === null || !("id" in data) || typeof data.id !== "number") {
    return false;
  }
  if ("method" in data) return typeof data.method === "string" && "args" in data && Array.isArray(data.args);
  if ("value" in data) return true;
  return "error" in data && typeof data.error === "object" && data.error !== null && "message" in data.error;
}

function unknownMethod(method: string): never {
  throw new TypeError(`No method "${method}" on this channel`);
}

function describe(error: unknown): { message: string; code?: string } {
  const message = messageOf(error);
  return error instanceof GatewayError ? { message, code: error.code } : { message };
}

function revive({ message, code }: { message: string; code?: string }): Error {
  return code === undefined ? new Error(message) : new GatewayError(code as GatewayError["code"], message);
}
