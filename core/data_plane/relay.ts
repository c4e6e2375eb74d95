import { type ByteStream, closeQuietly, isLending, type LendingStream, writeAll } from "../byte_stream.ts";
import { BufferPool } from "./buffers.ts";

/** What has gone one way so far. Kept up to date while the relay runs, so that others can look. */
export interface ByteCount {
  bytes: number;
}

/** Which operation of one direction failed. */
type Failure = "read" | "write";

/** How a relay ended: both sides sent FIN, one of them died, or the upstream ended without the answer that it owed. */
export type RelayEnd = "ok" | "client_reset" | "upstream_reset" | "no_answer";

/** What is relayed. */
export interface RelayOptions {
  readonly client: ByteStream;
  readonly upstream: ByteStream;
  /** Counts client → upstream. */
  readonly sent: ByteCount;
  /** Counts upstream → client. */
  readonly received: ByteCount;
  /**
   * Given when the upstream must say something, as a TLS server must: what the client is told when it ends without
   * having done so.
   */
  readonly farewell?: Uint8Array | undefined;
  /** Called when a direction has ended and the other may go on. */
  readonly onHalfClosed?: (() => void) | undefined;
}

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
 */
export async function relay(
  { client, upstream, sent, received, farewell, onHalfClosed }: RelayOptions,
): Promise<RelayEnd> {
  let end: RelayEnd = "ok";
  let clientIsDone = false;
  const close = (failed: RelayEnd) => {
    if (end === "ok") end = failed;
    closeQuietly(client);
    closeQuietly(upstream);
  };
  /** The upstream has ended. What to say to a client that is there, and waits for an answer that must come. */
  const lastWords = () => {
    if (farewell === undefined || received.bytes > 0 || clientIsDone || end === "client_reset") {
      return undefined;
    }
    end = "no_answer";
    return farewell;
  };
  const up = start(client, upstream, sent).then((failed) => {
    if (failed === "read") return close("client_reset");
    clientIsDone = failed === undefined;
    // An upstream that takes no more may have answered before: what lies ready from it is still for the client.
    if (failed === "write" && end === "ok") end = "upstream_reset";
    onHalfClosed?.();
  });
  const down = start(upstream, client, received, lastWords).then(async (failed) => {
    if (failed === undefined) return onHalfClosed?.();
    const words = failed === "read" ? lastWords() : undefined;
    if (words) await writeAll(client, words).catch(() => {});
    close(failed === "read" ? "upstream_reset" : "client_reset");
  });
  await up;
  await down;
  return end;
}

/**
 * One direction, until FIN. Never rejects: resolves to the operation that failed, if one did.
 *
 * @param lastWords What is to be said before FIN is passed on.
 */
function start(
  from: ByteStream,
  to: ByteStream,
  count: ByteCount,
  lastWords?: () => Uint8Array | undefined,
): Promise<Failure | undefined> {
  return isLending(from) ? pass(from, to, count, lastWords) : pump(from, to, count, lastWords);
}

/** A direction whose source brings the memory. */
async function pass(
  from: LendingStream,
  to: ByteStream,
  count: ByteCount,
  lastWords?: () => Uint8Array | undefined,
): Promise<Failure | undefined> {
  let doing: Failure = "read";
  try {
    for (let bytes; (bytes = await from.borrow()) !== null; doing = "read") {
      doing = "write";
      let written = 0;
      try {
        while (written < bytes.length) {
          const length = await to.write(written === 0 ? bytes : bytes.subarray(written));
          written += length;
          count.bytes += length;
        }
      } finally {
        from.giveBack(written);
      }
    }
    doing = "write";
    await end(to, lastWords);
  } catch {
    return doing;
  }
}

/** A direction through memory of ours. */
async function pump(
  from: ByteStream,
  to: ByteStream,
  count: ByteCount,
  lastWords?: () => Uint8Array | undefined,
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
    await end(to, lastWords);
  } catch {
    return doing;
  } finally {
    pool.give(buffer);
  }
}

async function end(to: ByteStream, lastWords: (() => Uint8Array | undefined) | undefined): Promise<void> {
  const words = lastWords?.();
  if (words) await writeAll(to, words);
  await to.closeWrite();
}

function bulkPool(current: BufferPool): BufferPool {
  return current === smallBuffers && !bigBuffers.available ? mediumBuffers : bigBuffers;
}
