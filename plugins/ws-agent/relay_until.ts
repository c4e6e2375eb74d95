import { relay } from "../../core/data_plane/relay.ts";
import { type ByteStream, closeQuietly } from "../../core/plugin/mod.ts";

/**
 * Relays until both sides have ended, or `signal` is aborted. Closes both. Never rejects. Nothing here bounds how long one side may be
 * silent, or stay open behind the end of the other: whoever calls does.
 */
export async function relayUntil(
  signal: AbortSignal,
  client: ByteStream,
  upstream: ByteStream,
): Promise<void> {
  const close = () => {
    closeQuietly(client);
    closeQuietly(upstream);
  };
  signal.addEventListener("abort", close);
  try {
    if (signal.aborted) return;
    await relay({ client, upstream, sent: { bytes: 0 }, received: { bytes: 0 } });
  } finally {
    signal.removeEventListener("abort", close);
    close();
  }
}
