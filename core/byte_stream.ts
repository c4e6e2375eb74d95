/**
 * One ordered two-way byte stream. `Deno.TcpConn` has this shape already; a terminated TLS connection and an
 * in-memory pipe are made to have it.
 *
 * Whoever holds the stream closes it; handing it on hands on that duty. One read and one write may be pending
 * at a time.
 */
export interface ByteStream {
  /** Fills a prefix of `into`: resolves to its length (≥ 1 byte), or `null` after the peer's FIN. */
  read(into: Uint8Array): Promise<number | null>;
  /** Sends a prefix of `data`: resolves to its length in bytes. Keeps no reference to `data` afterwards. */
  write(data: Uint8Array): Promise<number>;
  /** Sends FIN. Reading goes on. */
  closeWrite(): Promise<void>;
  /** Frees the socket. A read or write still pending rejects. Closing twice may throw: see {@link closeQuietly}. */
  close(): void;
}

/** Writes all of `data`, however few bytes each write takes. */
export async function writeAll(to: ByteStream, data: Uint8Array): Promise<void> {
  for (let sent = 0; sent < data.length;) {
    sent += await to.write(sent === 0 ? data : data.subarray(sent));
  }
}

/**
 * Closes something that may have been closed already, by us or by the runtime. What the runtime itself has made is asked in
 * the way that does not throw then: an error and its stack cost more than all else here.
 */
export function closeQuietly(resource: { close(): void } | undefined): void {
  if (resource === undefined) return;
  try {
    if (isOfRuntime(resource)) resource[Symbol.dispose]();
    else resource.close();
  } catch (error) {
    if (!(error instanceof Deno.errors.BadResource)) throw error;
  }
}

/** A connection or a listener of the runtime: their `dispose` is a `close` that may be repeated. */
function isOfRuntime(resource: object): resource is Disposable {
  return Symbol.dispose in resource;
}
