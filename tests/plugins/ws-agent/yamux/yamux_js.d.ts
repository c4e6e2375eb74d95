/** The part of `yamux-js` that the tests use. Its own types bring Node's along, which differ from the runtime's. */
import type { Duplex, Transform } from "node:stream";

interface Config {
  readonly enableKeepAlive?: boolean;
  readonly logger?: (...parts: unknown[]) => void;
}
/** One stream. It has no FIN of its own at `end()`: `close()` sends it. */
export interface Stream extends Duplex {
  close(): void;
}
interface Session extends Transform {
  open(): Stream;
  close(): void;
}
export const Client: new (config?: Config) => Session;
export const Server: new (onStream: (stream: Stream) => void, config?: Config) => Session;
