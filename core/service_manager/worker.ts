/// <reference lib="deno.worker" />
import { type MessageChannelEnd, openRpc } from "../rpc.ts";
import type { NotifierMethods } from "./contract.ts";

/*
 * The entry of the worker that speaks to the service manager. It may use two Unix sockets, its own and the manager's,
 * and nothing else. It lives on when the process has given up its permission to write.
 */

let own: Deno.DatagramConn | undefined;
let manager = "";
/** The datagrams before, which keep their order: the last one has to be what holds. */
let sent: Promise<unknown> = Promise.resolve();

const methods: NotifierMethods = {
  open(path, to) {
    own = Deno.listenDatagram({ transport: "unixpacket", path });
    manager = to;
  },
  async send(text) {
    const socket = own;
    if (socket === undefined) throw new TypeError("The socket is not open");
    const datagram = new TextEncoder().encode(text);
    const sending = sent.catch(() => {}).then(() => {
      return socket.send(datagram, { transport: "unixpacket", path: manager });
    });
    sent = sending;
    await sending;
  },
};

openRpc(self as unknown as MessageChannelEnd, methods);
