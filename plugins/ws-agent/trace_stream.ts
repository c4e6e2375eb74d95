import type { ByteStream, PlaneContext } from "../../core/plugin/mod.ts";
import { printable } from "./auth/printable.ts";
import type { Service } from "./session/service.ts";
import type { TunnelSession } from "./session/session.ts";

/** For whom a stream is, and where it leads. */
export interface TracedStream {
  readonly connection: string;
  readonly session: TunnelSession;
  readonly service: Service;
}

/**
 * Has the stream's span made when it is closed. Its `close` is replaced in place: a stream around it would have to lend what
 * it lends, for the sake of one word at the end.
 */
export function traceStream(
  stream: ByteStream,
  { connection, session, service }: TracedStream,
  trace: NonNullable<PlaneContext["trace"]>,
): ByteStream {
  const openedAt = performance.now();
  const close = stream.close.bind(stream);
  let told = false;
  stream.close = () => {
    if (!told) {
      told = true;
      trace(connection, "tunnel stream", openedAt, {
        "postern.service": printable(service.asked.name, 100),
        "postern.service_protocol": service.protocol,
        "postern.tunnel": session.id,
        "postern.agent": session.voice.kind,
      });
    }
    close();
  };
  return stream;
}
