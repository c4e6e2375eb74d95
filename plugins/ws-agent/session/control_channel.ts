import type { ByteStream } from "../../../core/plugin/mod.ts";
import { encodeControl } from "../control/codec.ts";
import type { ControlMessage } from "../control/messages.ts";
import { ControlReader } from "../control/reader.ts";
import { Outgoing } from "./outgoing.ts";

/** The control stream of one of Postern's agents. Reads when it is asked for a message; writes in the background, in order. */
export class ControlChannel {
  readonly #reader: ControlReader;
  readonly #outgoing: Outgoing;

  constructor(stream: ByteStream) {
    this.#reader = new ControlReader(stream);
    this.#outgoing = new Outgoing(stream);
  }

  /** See {@link Outgoing.onStalled}. */
  get onStalled(): (() => void) | undefined {
    return this.#outgoing.onStalled;
  }

  set onStalled(stalled: (() => void) | undefined) {
    this.#outgoing.onStalled = stalled;
  }

  /**
   * The next message, or `null` when the agent has ended the stream.
   *
   * @throws {ControlFault} A message that breaks the format. Else what the stream throws.
   */
  receive(): Promise<ControlMessage | null> {
    return this.#reader.read();
  }

  /** Lays a message in line. It is lost when the stream dies, which {@link receive} tells. */
  send(message: ControlMessage): void {
    this.#outgoing.send(encodeControl(message));
  }

  /** See {@link Outgoing.finish}. */
  finish(): Promise<void> {
    return this.#outgoing.finish();
  }
}
