import type { ByteStream } from "../../byte_stream.ts";
import type { ByteCount } from "../relay.ts";

/** A stream that counts what passes: `read` what came from it, `written` what went to it. */
export function counting(stream: ByteStream, read: ByteCount, written: ByteCount): ByteStream {
  return {
    async read(into) {
      const length = await stream.read(into);
      read.bytes += length ?? 0;
      return length;
    },
    async write(data) {
      const length = await stream.write(data);
      written.bytes += length;
      return length;
    },
    closeWrite: () => stream.closeWrite(),
    close: () => stream.close(),
  };
}
