import { type ByteStream, closeQuietly } from "../byte_stream.ts";
import { BufferPool } from "./buffers.ts";

/** What has gone one way so far. Kept up to date while the relay runs, so that others can look. */
export interface ByteCount {
  bytes: number;
}

/** Which operation of one direction failed. */
type Failure = "read" | "write";

/** How a relay ended: both sides sent FIN, or one of them died. */
export type RelayEnd = "ok" | "client_reset" | "upstream_reset";

/**
 * What an idle direction waits with. 2 KiB: measured, 4 KiB costs 4 KiB more for each idle connection and moves
 * no more bytes, because a busy direction reads into a large buffer at once.
 */
const smallBuffers = new BufferPool(2048, Infinity, 1024);
/** Bulk. 256 KiB: measured, 64 KiB moves a fifth less. At most 64 MiB of these are out, 8 MiB lie spare. */
const bigBuffers = new BufferPool(256 * 1024, 256, 32);
/** Bulk when every big buffer is out. At most 32 MiB of these are out. */
const mediumBuffers = new BufferPool(16 * 1024, 2048, 64);

/**
 * Copies bytes both ways until both sides have sent FIN or one has failed. The caller closes both then.
 *
 * A FIN is passed on at once and alone (half-close): the other direction goes on. So does the reply of an upstream
 * that takes no more, because it may have answered before it went. Any other failure, a reset as a rule, closes both
 * at once. The next read waits until the last write is done, which is the backpressure.
 *
 * @param sent Counts client → upstream.
 * @param received Counts upstream → client.
 * @param onHalfClosed Called when a direction has ended and the other may go on.
 */
export async function relay(
  client: ByteStream,
  upstream: ByteStream,
  sent: ByteCount,
  received: ByteCount,
  onHalfClosed?: () => void,
): Promise<RelayEnd> {
  let end: RelayEnd = "ok";
  const close = (failed: RelayEnd) => {
    if (end === "ok") end = failed;
    closeQuietly(client);
    closeQuietly(upstream);
  };
  const up = pump(client, upstream, sent).then((failed) => {
    if (failed === "read") return close("client_reset");
    // An upstream that takes no more may have answered before: what lies ready from it is still for the client.
    if (failed === "write" && end === "ok") end = "upstream_reset";
    onHalfClosed?.();
  });
  const down = pump(upstream, client, received).then((failed) => {
    if (failed !== undefined) return close(failed === "read" ? "upstream_reset" : "client_reset");
    onHalfClosed?.();
  });
  await up;
  await down;
  return end;
}

/** One direction, until FIN. Never rejects: resolves to the operation that failed, if one did. */
async function pump(
  from: ByteStream,
  to: ByteStream,
  count: ByteCount,
): Promise<Failure | undefined> {
  let pool = smallBuffers;
  let buffer = smallBuffers.take() ?? new Uint8Array(smallBuffers.size);
  let doing: Failure = "read";
  try {
    for (let length; (length = await from.read(buffer)) !== null; doing = "read") {
      doing = "write";
      for (let offset = 0; offset < length;) {
        const written = await to.write(buffer.subarray(offset, length));
        offset += written;
        count.bytes += written; // by the write: a slow reader of a large buffer is not idle
      }
      // A full buffer: more is waiting, so read more at a time. Room left: back to the small one, because what
      // waits for a silent peer must be small.
      const wanted = length === buffer.length ? bulkPool(pool) : smallBuffers;
      if (wanted === pool) continue;
      const next = wanted.take();
      if (next === undefined) continue;
      pool.give(buffer);
      pool = wanted;
      buffer = next;
    }
    doing = "write";
    await to.closeWrite();
  } catch {
    return doing;
  } finally {
    pool.give(buffer);
  }
}

function bulkPool(current: BufferPool): BufferPool {
  return current === smallBuffers && !bigBuffers.available ? mediumBuffers : bigBuffers;
}
