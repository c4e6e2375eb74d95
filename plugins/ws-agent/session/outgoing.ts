import { type ByteStream, writeAll } from "../../../core/plugin/mod.ts";

/**
 * Answers and heartbeats that wait for an agent that reads none: those to all that it may ask at once fit, and a hundred
 * of its kind do no harm.
 */
const MAX_WAITING_BYTES = 256 * 1024;

/** What is on its way to one agent by its control stream: written in the background, in order. */
export class Outgoing {
  readonly #stream: ByteStream;
  readonly #joins: boolean;
  #waiting: Uint8Array[] = [];
  #waitingBytes = 0;
  #writing: Promise<void> | undefined;
  #broken = false;
  /** Called once when the agent reads so little that messages pile up. */
  onStalled: (() => void) | undefined;

  /** @param joins Whether several messages that wait may go out as one write. @default true */
  constructor(stream: ByteStream, joins = true) {
    this.#stream = stream;
    this.#joins = joins;
  }

  /** Lays a message in line. It is lost when the stream dies, which reading from it tells. */
  send(bytes: Uint8Array): void {
    if (this.#broken) return;
    if (this.#waitingBytes + bytes.length > MAX_WAITING_BYTES) {
      this.#broken = true;
      this.onStalled?.();
      return;
    }
    this.#waiting.push(bytes);
    this.#waitingBytes += bytes.length;
    this.#writing ??= this.#write();
  }

  /** Ends our side behind what waits. Resolves when all of it is on its way, or cannot be any more. Never rejects. */
  async finish(): Promise<void> {
    while (this.#writing) await this.#writing;
    if (this.#broken) return;
    this.#broken = true; // nothing may be laid in line behind the end
    await this.#stream.closeWrite().catch(() => {});
  }

  async #write(): Promise<void> {
    try {
      while (this.#waiting.length > 0) {
        const bytes = joined(this.#waiting.splice(0, this.#joins ? Infinity : 1));
        await writeAll(this.#stream, bytes);
        this.#waitingBytes -= bytes.length;
      }
    } catch {
      this.#broken = true;
    } finally {
      this.#writing = undefined;
    }
  }
}

function joined(parts: readonly Uint8Array[]): Uint8Array {
  const [only] = parts;
  if (only !== undefined && parts.length === 1) return only;
  const all = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}
