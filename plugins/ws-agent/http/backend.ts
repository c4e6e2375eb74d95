import type { ByteStream } from "../../../core/plugin/mod.ts";

/** Where the requests of one public connection go: the service that the connection's name stands for. */
export interface HttpBackend {
  /** The canonical name that the client asked for by SNI, or by Host when there was no TLS; every request must be for it. */
  readonly hostname: string;
  /**
   * Opens a stream to the service, ready for an HTTP/1.1 request. Waits for an agent that was just lost, within its grace.
   *
   * @throws {GatewayError} `dial-failed`: there is no agent any more (502). `dial-timeout`: it did not come back in time (504).
   * @throws {HttpRefusal} What else the client is to be told: 404, nobody has this name.
   * Anything else is taken for bad luck: it is called once more.
   *
   * @param again Whether a stream for the same request has died just now, and whoever served it may be gone. @default false
   */
  open(signal: AbortSignal, again?: boolean): Promise<ByteStream>;
  /** Told of those who keep streams that nobody uses, as long as they do. */
  readonly keepers?: IdleKeepers | undefined;
}

/** Who can be asked to let go of streams that nobody uses: the service may have been withdrawn, and waits for their end. */
export type IdleKeepers = Pick<Set<IdleKeeper>, "add" | "delete">;

export interface IdleKeeper {
  /** Ends the streams that nobody uses; there will be new ones when they are needed. Never rejects. */
  leave(): Promise<void>;
}

/** A request as the access log and the metrics want it; called once for each, when it is over. */
export interface RequestEvent {
  readonly method: string;
  /** The path without its query, at most 256 characters: queries hold secrets. */
  readonly path: string;
  readonly version: "1.0" | "1.1" | "2";
  /** 0: the client was gone before there was an answer. */
  readonly status: number;
  /** Of the request's body, without framing; what an upgraded connection carried counts too. */
  readonly bytesIn: number;
  /** Of the response's body, likewise. */
  readonly bytesOut: number;
  readonly ms: number;
  /**
   * Absent when all went well. `bad_request`, `misdirected`, `request_timeout`, `client_closed`: the client's doing.
   * `unknown_name`, `agent_lost`, `agent_timeout`, `over_limit`: there is no stream to the service. `service_closed`,
   * `bad_response`, `response_timeout`, `response_cut_short`: the service's doing. `idle_timeout`, `closed`: the gateway's. And how
   * an upgraded connection ended.
   */
  readonly fault?: string;
  /** The rule of HTTP that was broken, for `bad_request` and `bad_response`: `bare-lf`. */
  readonly detail?: string;
}
