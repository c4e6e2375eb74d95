import type { ByteStream } from "../byte_stream.ts";
import type { Protocol } from "../plugin/contract.ts";
import { parsePlainOpening } from "./preface/plain.ts";

/** Longer than any opening that {@link parsePlainOpening} knows. */
const SNIFF_BYTES = 32;

/**
 * Reads what a client begins with inside its TLS, to refuse it in its own protocol. What was read is gone: only
 * for a stream that ends here. The caller bounds the time. Never rejects.
 */
export async function sniffLayer(stream: ByteStream): Promise<Protocol> {
  const seen = new Uint8Array(SNIFF_BYTES);
  try {
    for (let total = 0; total < SNIFF_BYTES;) {
      const length = await stream.read(seen.subarray(total));
      if (length === null) break;
      total += length;
      const opening = parsePlainOpening(seen.subarray(0, total));
      if (opening.kind === "yes") return opening.value;
    }
  } catch {
    // The client left, or its time is over: nobody is there to be told.
  }
  return "other";
}
