/** What the process may ask of the worker that speaks to the service manager, in messages of `core/rpc.ts`. */
export interface NotifierMethods {
  [method: string]: (...args: never[]) => unknown;
  /** Opens a socket at `own`, from which datagrams go to `to`. Both are paths. */
  open(own: string, to: string): void;
  /** Sends one datagram. Throws when nobody takes it. */
  send(text: string): Promise<void>;
}
