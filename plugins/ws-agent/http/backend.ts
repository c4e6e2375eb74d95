import type { ByteStream } from "../../../core/plugin/mod.ts";

/** Where the requests of one public connection go: the service that the connection's name stands for. */
export interface HttpBackend {
  /** The canonical name that the client asked for by SNI, or by Host when there was no TLS; every request must be for it. */
  readonly hostname: string;
  /**
   * Opens a stream to the service, ready for an HTTP/1.1 request. Waits for an agent that was just lost, within its grace.
   *
   * @throws {GatewayError} `dial-failed`: there is no agent any more (502). `dial-timeout`: it did not come back in time (504).
   */
  open(signal: AbortSignal): Promise<ByteStream>;
}

/** A request as the access log and the metrics want it; called once for each, when it is over. */
export interface RequestEvent {
  readonly method: string;
  /** The path without its query, at most 256 characters: queries hold secrets. */
  readonly path: string;
  readonly version: "1.0" | "1.1" | "2";
  /** 0: the client was gone before there was an answer. */
  readonly status: number;
  readonly bytesIn: number;
  readonly bytesOut: number;
  readonly ms: number;
  /** Absent when all went well: `client_closed`, `agent_lost`, `bad_request`, `timeout`, … */
  readonly fault?: string;
}
