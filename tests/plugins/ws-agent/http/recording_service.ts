import { RawPeer, RawService } from "./harness.ts";

/** A request as the service got it, once it was whole. */
export interface Recorded {
  readonly head: string;
  readonly method: string;
  readonly path: string;
  readonly body: string;
  /** What stands behind the last chunk. */
  readonly trailers: string;
  /** Which connection brought it, from 0. */
  readonly connection: number;
}

/** Answers a request that was recorded. */
export type Answer = (peer: RawPeer, request: Recorded) => Promise<void> | void;

const answerOk: Answer = (peer) => peer.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");

/** A service that reads requests with a parser of its own, which is simple and believes everything. */
export class RecordingService extends RawService {
  readonly requests: Recorded[] = [];

  constructor(answer: Answer = answerOk) {
    super(async (peer, connection) => {
      for (let request; (request = await readRequest(peer, connection)) !== undefined;) {
        this.requests.push(request);
        await answer(peer, request);
      }
      peer.close();
    });
  }
}

async function readRequest(peer: RawPeer, connection: number): Promise<Recorded | undefined> {
  const head = await peer.readHead();
  if (!head.endsWith("\r\n\r\n")) return undefined;
  const [method = "", path = ""] = head.split(" ");
  const known = { head, method, path, connection };
  const length = Number(/^content-length: *(\d+)/im.exec(head)?.[1] ?? 0);
  if (!/^transfer-encoding: *chunked/im.test(head)) {
    const body = await peer.readBytes(length);
    return body.length < length ? undefined : { ...known, body, trailers: "" };
  }
  let body = "";
  for (let size; (size = parseInt(await peer.readTo("\r\n"), 16)) > 0;) {
    body += (await peer.readBytes(size + 2)).slice(0, -2);
  }
  if (Number.isNaN(body.length)) return undefined;
  let trailers = "";
  for (let line; (line = await peer.readTo("\r\n")) !== "\r\n";) {
    if (line === "") return undefined;
    trailers += line;
  }
  return { ...known, body, trailers };
}
