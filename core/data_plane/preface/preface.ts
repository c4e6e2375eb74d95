import type { ClientHelloInfo, Endpoint, Protocol } from "../../plugin/contract.ts";
import type { CancelKey } from "./postgres.ts";

/** A PROXY header that was read from a trusted peer (HAProxy's proxy-protocol.txt). */
export interface ProxyHeader {
  readonly version: 1 | 2;
  /** Absent for LOCAL and UNKNOWN: then the TCP addresses stand. */
  readonly source?: Endpoint;
  readonly destination?: Endpoint;
  /** The addresses of a v2 header for UDP. Of a TCP connection it says nothing. */
  readonly datagrams?: { readonly source: Endpoint; readonly destination: Endpoint };
  /** TLVs of a v2 header, in order, unknown ones included; views into a copy that nobody else holds. */
  readonly tlvs: readonly { readonly type: number; readonly value: Uint8Array }[];
  /** Exactly the bytes that came, for `proxyProtocol: pass`. */
  readonly raw: Uint8Array;
}

/** Why a preface was refused. Each is the `reason` label of `postern_rejected_total`. */
export type PrefaceFault =
  | "proxy_protocol_refused"
  | "malformed_client_hello"
  | "malformed_postgres"
  | "postgres_early_bytes"
  | "preface_too_large"
  | "client_closed";

/** What the first bytes of a connection say. */
export interface Preface {
  readonly proxy?: ProxyHeader;
  readonly protocol: Protocol;
  /** Present when a ClientHello was read. */
  readonly tls?: ClientHelloInfo;
  /** True when an SSLRequest was read and answered with `S`: an upstream that gets the TLS passed through wants one too. */
  readonly sslRequested: boolean;
  /** Present when this is a PostgreSQL CancelRequest in plain text. */
  readonly cancel?: CancelKey;
  /** Everything read behind the PROXY header and the PostgreSQL negotiation, for whoever gets the connection. */
  readonly replay: Uint8Array;
}

/** What reading a preface came to. A refusal is a value: strangers cause it, nobody has to act on it. */
export type PrefaceResult =
  | { readonly kind: "preface"; readonly preface: Preface }
  | {
    readonly kind: "refused";
    readonly fault: PrefaceFault;
    /** For the log: which rule, and what was seen. */
    readonly detail: string;
    /** What the client had shown itself to speak by then, so that it gets the right kind of answer. */
    readonly protocol?: Protocol;
  };
