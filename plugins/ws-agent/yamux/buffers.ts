import { BufferPool } from "../../../core/plugin/mod.ts";

/** What an idle session reads into, and what a few small frames are sent from. Lots of them lie about: keep it small. */
export const smallBuffers = new BufferPool(2048, Infinity, 1024);
/** Bulk, in either direction. At most 64 MiB of these are out, 8 MiB lie spare. */
export const bigBuffers = new BufferPool(256 * 1024, 256, 32);
/** Bulk when every big buffer is out. At most 32 MiB of these are out. */
const mediumBuffers = new BufferPool(16 * 1024, 2048, 64);

/** A buffer for bulk, and the pool that it goes back to. The smaller the more are out. */
export function bulkPool(): BufferPool {
  if (bigBuffers.available) return bigBuffers;
  return mediumBuffers.available ? mediumBuffers : smallBuffers;
}
