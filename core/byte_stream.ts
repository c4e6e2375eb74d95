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

/**
 * A byte stream that keeps what has come in memory of its own, and lends that out. Who reads it so holds no memory while
 * waiting, and copies nothing.
 */
export interface LendingStream extends ByteStream {
  /**
   * The next bytes that have come, at least one, or `null` after the peer's FIN. They are to be looked at only, and stay
   * as they are until {@link giveBack}, even when the stream is closed. Counts as a read, and rejects as one; none may
   * follow before they are given back.
   */
  borrow(): Promise<Uint8Array | null>;
  /** Ends what {@link borrow} began: the first `length` bytes count as read, the others come again. */
  giveBack(length: number): void;
}

/** Whether `stream` lends out what it has received. */
export function isLending(stream: ByteStream): stream is LendingStream {
  return "borrow" in stream && typeof stream.borrow === "function";
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
