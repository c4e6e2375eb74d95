import { type ByteStream, closeQuietly, writeAll } from "../../core/plugin/mod.ts";
import type { Clock } from "./clock.ts";

/** What is told to somebody who is turned away may take so long to get there. */
export const LINGER_MS = 1000;
/** As much as is read, and thrown away, of somebody who is turned away. */
const MAX_LINGER_BYTES = 64 * 1024;

/**
 * Says why, and reads on for a moment, because a connection that is closed with unread bytes takes the answer along. Then
 * closes. Never rejects.
 */
export async function turnAway(stream: ByteStream, answer: Uint8Array, clock: Clock): Promise<void> {
  const stop = clock.after(LINGER_MS, () => closeQuietly(stream));
  try {
    await writeAll(stream, answer);
    await stream.closeWrite();
    const waste = new Uint8Array(4096);
    for (let read = 0; read < MAX_LINGER_BYTES;) {
      const length = await stream.read(waste);
      if (length === null) return;
      read += length;
    }
  } catch {
    // It has gone, or took too long.
  } finally {
    stop();
    closeQuietly(stream);
  }
}
