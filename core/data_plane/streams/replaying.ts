import type { ByteStream } from "../../byte_stream.ts";

const NOTHING = new Uint8Array();

/** A stream that yields `head`, which was read from it before, and then reads on. Owns both from now on. */
export function replaying(stream: ByteStream, head: Uint8Array): ByteStream {
  let rest = head;
  if (rest.length === 0) return stream;
  return {
    read(into) {
      if (rest.length === 0 || into.length === 0) return stream.read(into);
      const length = Math.min(rest.length, into.length);
      into.set(rest.subarray(0, length));
      rest = length < rest.length ? rest.subarray(length) : NOTHING; // an empty view would keep all of the memory
      return Promise.resolve(length);
    },
    write: (data) => stream.write(data),
    closeWrite: () => stream.closeWrite(),
    close: () => stream.close(),
  };
}
