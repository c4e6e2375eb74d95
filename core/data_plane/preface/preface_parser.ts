import type { ClientHelloInfo, Protocol } from "../../plugin/contract.ts";
import { ClientHelloParser, HANDSHAKE_RECORD, parseSslV2Hello } from "./client_hello.ts";
import { parsePlainOpening } from "./plain.ts";
import {
  type CancelKey,
  parsePostgresOpening,
  POSTGRES_HEADER_BYTES,
  type PostgresOpening,
  readCancelRequest,
} from "./postgres.ts";
import type { PrefaceFault, PrefaceResult, ProxyHeader } from "./preface.ts";
import { parseProxyHeader, parseProxySignature } from "./proxy_protocol.ts";
import { more, type Parsed } from "./parsed.ts";

/** Whether the peer's PROXY header is believed, or refused. */
export type ProxyTrust = "trusted" | "refused";

/** What is to be done next. */
export type PrefaceStep =
  | PrefaceResult
  /** Read on. The preface has at least `total` bytes, counted from the start of the connection. */
  | { readonly kind: "more"; readonly total: number }
  /** Send this byte, then read on. */
  | { readonly kind: "answer"; readonly bytes: Uint8Array };

/** PostgreSQL's answers to SSLRequest (TLS, go ahead) and to GSSENCRequest (not here). */
const GO_AHEAD = Uint8Array.of(0x53), NOT_HERE = Uint8Array.of(0x4e);

/**
 * `proxy`: a PROXY header may come. `opening`: anything may come. `postgres`: after a GSSENCRequest, only another
 * PostgreSQL packet. `tls`: a ClientHello has begun, or is due after an SSLRequest.
 */
type Phase = "proxy" | "opening" | "postgres" | "tls";

/** Understands the first bytes of one connection, without moving any. */
export class PrefaceParser {
  readonly #trust: ProxyTrust;
  #phase: Phase = "proxy";
  /** Where the part that is being read begins; all before it is done with. */
  #start = 0;
  #proxy: ProxyHeader | undefined;
  #hello: ClientHelloParser | undefined;
  #sslRequested = false;
  #speaks: Protocol | undefined;

  constructor(trust: ProxyTrust) {
    this.#trust = trust;
  }

  /**
   * What the client has shown itself to speak so far, so that it gets an answer that it understands: `tls` from
   * the answer to an SSLRequest on.
   */
  get speaks(): Protocol | undefined {
    return this.#speaks;
  }

  /**
   * @param seen Every byte so far, from the start of the connection, and at least one more than in the call
   * before; only read. `replay` of a result is a view into it.
   */
  next(seen: Uint8Array): PrefaceStep {
    if (this.#phase === "proxy") {
      const step = this.#takeProxy(seen);
      if (step !== undefined) return step;
    }
    if (this.#start === seen.length) return more(seen.length + 1);
    const rest = this.#start === 0 ? seen : seen.subarray(this.#start);
    if (this.#phase === "opening") return this.#takeOpening(rest);
    return this.#phase === "postgres" ? this.#takePostgresOnly(rest) : this.#takeHello(rest);
  }

  /** A refusal; `speaks` goes with it. */
  refuse(fault: PrefaceFault, detail: string): PrefaceResult {
    const refused = { kind: "refused", fault, detail } as const;
    return this.#speaks === undefined ? refused : { ...refused, protocol: this.#speaks };
  }

  /** @returns `undefined` when the bytes from `#start` on are another part's. */
  #takeProxy(seen: Uint8Array): PrefaceStep | undefined {
    const parsed = this.#trust === "trusted" ? parseProxyHeader(seen) : parseProxySignature(seen);
    if (parsed.kind === "more") return parsed;
    if (parsed.kind === "malformed") return this.refuse("proxy_protocol_refused", parsed.detail);
    if (parsed.kind === "yes") {
      if (typeof parsed.value === "number") {
        return this.refuse(
          "proxy_protocol_refused",
          `PROXY v${parsed.value} header from a peer that is not trusted`,
        );
      }
      this.#proxy = parsed.value;
      this.#start = parsed.length;
    }
    this.#phase = "opening";
    return undefined;
  }

  #takeOpening(rest: Uint8Array): PrefaceStep {
    if (rest[0] === HANDSHAKE_RECORD) return this.#takeHello(rest);
    const postgres = parsePostgresOpening(rest);
    if (postgres.kind !== "no") return this.#takePostgres(postgres, rest);
    const old = parseSslV2Hello(rest);
    if (old.kind === "more") return this.#more(old.total);
    if (old.kind === "malformed") return this.#refuseHello(old.detail);
    const plain = parsePlainOpening(rest);
    if (plain.kind === "more") return this.#more(plain.total);
    return this.#result(plain.kind === "yes" ? plain.value : "other", rest);
  }

  #takePostgresOnly(rest: Uint8Array): PrefaceStep {
    const postgres = parsePostgresOpening(rest);
    if (postgres.kind !== "no") return this.#takePostgres(postgres, rest);
    return this.refuse("malformed_postgres", "No PostgreSQL packet behind a GSSENCRequest");
  }

  #takePostgres(postgres: Exclude<Parsed<PostgresOpening>, { kind: "no" }>, rest: Uint8Array): PrefaceStep {
    const isRecognised = postgres.kind !== "more" || postgres.total > POSTGRES_HEADER_BYTES;
    if (isRecognised) this.#speaks = "postgres";
    if (postgres.kind === "more") return this.#more(postgres.total);
    if (postgres.kind === "malformed") return this.refuse("malformed_postgres", postgres.detail);
    if (postgres.value === "startup") return this.#result("postgres", rest);
    if (postgres.value === "cancel-request") {
      return this.#result("postgres", rest, { cancel: readCancelRequest(rest) });
    }
    if (rest.length > postgres.length) { // CVE-2021-23214: they would be taken for what comes inside the encryption
      return this.refuse(
        "postgres_early_bytes",
        `${rest.length - postgres.length} bytes behind ${postgres.value}`,
      );
    }
    this.#start += postgres.length;
    return postgres.value === "ssl-request" ? this.#acceptTls() : this.#declineGss();
  }

  #acceptTls(): PrefaceStep {
    this.#phase = "tls";
    this.#speaks = "tls";
    this.#sslRequested = true;
    return { kind: "answer", bytes: GO_AHEAD };
  }

  #declineGss(): PrefaceStep {
    if (this.#phase === "postgres") return this.refuse("malformed_postgres", "GSSENCRequest twice");
    this.#phase = "postgres";
    return { kind: "answer", bytes: NOT_HERE };
  }

  #takeHello(rest: Uint8Array): PrefaceStep {
    this.#phase = "tls";
    this.#speaks = "tls";
    this.#hello ??= new ClientHelloParser();
    const hello = this.#hello.push(rest);
    if (hello.kind === "more") return this.#more(hello.total);
    if (hello.kind !== "yes") {
      return this.#refuseHello(hello.kind === "malformed" ? hello.detail : "No ClientHello");
    }
    return this.#result(this.#sslRequested ? "postgres" : "tls", rest, { tls: hello.value });
  }

  #refuseHello(detail: string): PrefaceResult {
    this.#speaks = "tls";
    return this.refuse("malformed_client_hello", detail);
  }

  #more(total: number): PrefaceStep {
    return more(this.#start + total);
  }

  #result(
    protocol: Protocol,
    replay: Uint8Array,
    found?: { readonly tls: ClientHelloInfo } | { readonly cancel: CancelKey },
  ): PrefaceResult {
    const proxy = this.#proxy;
    return {
      kind: "preface",
      preface: {
        protocol,
        sslRequested: this.#sslRequested,
        replay,
        ...(proxy === undefined ? undefined : { proxy }),
        ...found,
      },
    };
  }
}
