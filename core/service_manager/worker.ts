/// <reference lib="deno.worker" />
import { type MessageChannelEnd, openRpc } from "../rpc.ts";
import type { NotifierMethods } from "./contract.ts";

/*
 * The entry of the worker that speaks to the service manager. It may use two Unix sockets, its own and the manager's,
 * and nothing else. It lives on when the process has given up its permission to write.
 */

let own: Deno.DatagramConn | undefined;
let manager = "";

const methods: NotifierMethods = {
  open(path, to) {
    own = Deno.listenDatagram({ transport: "unixpacket", path });
    manager = to;
  },
  async send(text) {
    if (own === undefined) throw new TypeError("The socket is not open");
    await own.send(new TextEncoder().encode(text), { transport: "unixpacket", path: manager });
  },
};

openRpc(self as unknown as MessageChannelEnd, methods);
