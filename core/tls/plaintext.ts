import type { Duplex } from "node:stream";
import type { TLSSocket } from "node:tls";
import type { ByteStream } from "../byte_stream.ts";
import { DuplexStream } from "../data_plane/streams/duplex_stream.ts";

const NOTHING = new Uint8Array();

/** What a TLS socket of ours stands on. */
export interface FlowingTransport extends Duplex {
  hold(): void;
  release(): void;
}

/**
 * What lies within the TLS of a socket that has shaken hands. Closing it closes the transport beneath.
 *
 * The runtime keeps reading and decrypting into memory when its socket is paused, so a slow reader stops the
 * transport instead; and it calls `end` done before its close_notify has left.
 */
export function plaintextOf(socket: TLSSocket, transport: FlowingTransport): ByteStream {
  return new DuplexStream(socket, {
    flow: transport,
    freeing: true, // the runtime allocates each piece of plaintext, and forgets it
    async flushed() {
      await nextTurn();
      if (!transport.destroyed) {
        await new Promise<void>((resolve) => transport.write(NOTHING, () => resolve()));
      }
    },
  });
}

/** When the runtime has done what it does of its own accord behind an event. */
export function nextTurn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
