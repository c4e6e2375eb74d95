import { createServer, type Server, type TLSSocket } from "node:tls";
import type { ByteStream } from "../byte_stream.ts";
import { DuplexStream } from "../data_plane/streams/duplex_stream.ts";
import type { Terminate, TerminatedTls } from "../plugin/contract.ts";
import { ALERT, tlsAlert } from "./alert.ts";
import type { CertificateStore, ServerCertificate } from "./contexts.ts";
import { TlsFault, type TlsFaultCode } from "./fault.ts";
import { Lru } from "./lru.ts";
import { ClientCertificates } from "./peer_certificates.ts";
import { TlsTransport } from "./transport.ts";

export { TlsFault, type TlsFaultCode };

/** How many ways to ask for client certificates, ALPN and versions are kept ready for one certificate. */
const MAX_POLICIES = 64;

export interface TerminateOptions extends Pick<Terminate, "alpn" | "minVersion" | "clientCertificate"> {
  /** What was read from the stream already: the ClientHello, from its first byte. */
  readonly replay: Uint8Array;
  /** The canonical name in that ClientHello. */
  readonly serverName: string;
}

/** What came of a handshake. */
export interface Terminated {
  /** The plaintext. Closing it closes the stream beneath. */
  readonly stream: ByteStream;
  readonly info: TerminatedTls;
}

export interface Terminator {
  /**
   * Finishes a TLS handshake as the server. It has no deadline of its own: closing `stream` ends it at any time.
   * Takes the stream over; when it fails, the client is told by an alert and the stream is closed.
   *
   * @throws {TlsFault} The client's doing.
   * @throws {GatewayError} `certificate-invalid`: there is no CA in `clientCertificate.ca`, or it cannot be used.
   */
  terminate(stream: ByteStream, options: TerminateOptions): Promise<Terminated>;
  /** Forgets what was built and what was verified. Open connections go on. */
  close(): void;
}

/**
 * Terminates TLS with the certificates of `store`.
 *
 * The certificate is chosen here and not by an `SNICallback`: the name is known already, the runtime parses PEM
 * again for every connection and would do it twice, and a callback that is late hangs the handshake for ever.
 */
export function createTerminator(store: CertificateStore): Terminator {
  const servers = new WeakMap<ServerCertificate, Lru<Server>>();
  const clients = new Lru<ClientCertificates>(MAX_POLICIES);

  const serverFor = (certificate: ServerCertificate, options: TerminateOptions): Server => {
    let ofCertificate = servers.get(certificate);
    if (ofCertificate === undefined) servers.set(certificate, ofCertificate = new Lru(MAX_POLICIES));
    const key = policyKey(options);
    let server = ofCertificate.get(key);
    if (server === undefined) ofCertificate.set(key, server = openServer(certificate, options));
    return server;
  };
  const clientsOf = (ca: string): ClientCertificates => {
    let known = clients.get(ca);
    if (known === undefined) clients.set(ca, known = new ClientCertificates(ca));
    return known;
  };

  return {
    async terminate(stream, options) {
      const { clientCertificate, replay, serverName } = options;
      const asked = clientCertificate && clientsOf(clientCertificate.ca);
      const certificate = store.lookup(serverName);
      const transport = new TlsTransport(stream, { replay });
      if (certificate === undefined) {
        await transport.dismiss(tlsAlert(ALERT.unrecognizedName));
        throw new TlsFault("handshake_failed", `No certificate for "${serverName}"`);
      }
      const socket = await shakeHands(serverFor(certificate, options), transport);
      const chain = asked?.verified(socket);
      if (chain === undefined && clientCertificate?.mode === "require") {
        socket.destroy();
        throw new TlsFault("bad_certificate", "The resumed session has no verified client certificate");
      }
      return { stream: plaintextOf(socket, transport), info: describe(socket, chain) };
    },
    close() {
      clients.clear();
    },
  };
}

function policyKey({ alpn = [], minVersion = "TLSv1.2", clientCertificate }: TerminateOptions): string {
  return JSON.stringify([minVersion, clientCertificate?.mode, clientCertificate?.ca, alpn]);
}

function openServer(
  { certPem, keyPem }: ServerCertificate,
  { alpn, minVersion = "TLSv1.2", clientCertificate }: TerminateOptions,
): Server {
  return createServer({
    cert: certPem,
    key: keyPem,
    minVersion,
    ...(alpn?.length && { ALPNProtocols: [...alpn] }),
    ...(clientCertificate && {
      ca: clientCertificate.ca,
      requestCert: true,
      rejectUnauthorized: clientCertificate.mode === "require",
    }),
    // No timer: the caller has the deadline, and this one would keep a failed handshake in memory until it is due.
    handshakeTimeout: -1,
  });
}

/** Resolves to the TLS socket, settled; rejects with a {@link TlsFault}, and then has closed the transport. */
async function shakeHands(server: Server, transport: TlsTransport): Promise<TLSSocket> {
  const outcome = await handshake(server, transport);
  if (outcome.kind === "secure") {
    transport.settle();
    return outcome.socket;
  }
  if (outcome.kind === "failed") await nextTurn(); // only then has the runtime written its alert
  const { fault, alert } = faultOf(outcome, transport);
  await transport.dismiss(alert);
  throw fault;
}

type HandshakeOutcome =
  | { readonly kind: "secure"; readonly socket: TLSSocket }
  | { readonly kind: "failed"; readonly error: Error; readonly authorizationError: string | undefined }
  | { readonly kind: "closed"; readonly cause: unknown };

function handshake(server: Server, transport: TlsTransport): Promise<HandshakeOutcome> {
  return new Promise((resolve) => {
    // The runtime says nothing of a client that leaves in mid-handshake.
    transport.once("end", () => resolve({ kind: "closed", cause: undefined }));
    transport.on("error", (cause) => resolve({ kind: "closed", cause }));
    transport.once("close", () => resolve({ kind: "closed", cause: undefined }));
    // The events of a server do not say for which transport they are; those of a server of one's own need not.
    const own: Server = Object.create(server, {
      emit: {
        value(event: string, ...args: unknown[]): boolean {
          if (event === "secureConnection") resolve({ kind: "secure", socket: args[0] as TLSSocket });
          if (event === "tlsClientError") resolve(failedOutcome(args[0] as Error, args[1] as TLSSocket));
          return true;
        },
      },
    });
    for (const accept of server.listeners("connection")) accept.call(own, transport);
  });
}

function failedOutcome(error: Error, socket: Partial<TLSSocket> | undefined): HandshakeOutcome {
  const reason: unknown = socket?.authorizationError;
  return { kind: "failed", error, authorizationError: reason ? String(reason) : undefined };
}

/** The fault, and what the client is to be told: nothing, where it is gone or no alert can be made. */
function faultOf(
  outcome: Exclude<HandshakeOutcome, { kind: "secure" }>,
  transport: TlsTransport,
): { fault: TlsFault; alert: Uint8Array } {
  if (outcome.kind === "closed") {
    const fault = new TlsFault("client_closed", "The client left in mid-handshake", { cause: outcome.cause });
    return { fault, alert: NOTHING };
  }
  const { error, authorizationError } = outcome;
  const lastWords = transport.lastWords;
  if (authorizationError !== undefined) {
    const fault = new TlsFault(
      "bad_certificate",
      `The client certificate was refused: ${authorizationError}`,
    );
    return { fault, alert: isUnencrypted(lastWords) ? tlsAlert(alertFor(authorizationError)) : NOTHING };
  }
  return { fault: new TlsFault(codeOf(error, lastWords), error.message, { cause: error }), alert: lastWords };
}

const NOTHING = new Uint8Array();
const RECORD_ALERT = 21;
const RECORD_APPLICATION_DATA = 23;

/**
 * Whether the server still speaks in the clear. What the runtime wrote when it had verified the client in vain is
 * its ChangeCipherSpec in TLS 1.2, in whose place an alert may stand, and an encrypted ticket in TLS 1.3, where
 * nobody but the runtime could make an alert, and it does not.
 */
function isUnencrypted(lastWords: Uint8Array): boolean {
  return lastWords.length > 0 && lastWords[0] !== RECORD_APPLICATION_DATA;
}

/** @param authorizationError As OpenSSL names its verification errors. */
function alertFor(authorizationError: string): number {
  switch (authorizationError) {
    case "CERT_HAS_EXPIRED":
      return ALERT.certificateExpired;
    case "UNABLE_TO_VERIFY_LEAF_SIGNATURE":
    case "UNABLE_TO_GET_ISSUER_CERT":
    case "UNABLE_TO_GET_ISSUER_CERT_LOCALLY":
    case "DEPTH_ZERO_SELF_SIGNED_CERT":
    case "SELF_SIGNED_CERT_IN_CHAIN":
      return ALERT.unknownCa;
    default:
      return ALERT.badCertificate;
  }
}

function codeOf(error: Error & { code?: unknown }, lastWords: Uint8Array): TlsFaultCode {
  if (lastWords[0] === RECORD_ALERT && lastWords[6] === ALERT.protocolVersion) return "version";
  switch (error.code) {
    case "ERR_SSL_NO_APPLICATION_PROTOCOL":
      return "no_alpn";
    case "ERR_SSL_PEER_DID_NOT_RETURN_A_CERTIFICATE":
      return "no_certificate";
    case "ECONNRESET":
      return "client_closed";
    default:
      // Named for the alert that came, and what was said in answer to an alert is nothing.
      return lastWords.length === 0 && /_ALERT_/.test(String(error.code))
        ? "client_alert"
        : "handshake_failed";
  }
}

function nextTurn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

function describe(socket: TLSSocket, chain: readonly Uint8Array[] | undefined): TerminatedTls {
  return {
    version: socket.getProtocol() ?? "unknown",
    ...(socket.alpnProtocol && { alpn: socket.alpnProtocol }),
    ...(chain && { clientCertificates: chain }),
  };
}

/**
 * The runtime keeps reading and decrypting into memory when its socket is paused, so a slow reader stops the
 * transport instead; and it calls `end` done before its close_notify has left.
 */
function plaintextOf(socket: TLSSocket, transport: TlsTransport): ByteStream {
  return new DuplexStream(socket, {
    flow: transport,
    async flushed() {
      await nextTurn();
      await new Promise<void>((resolve) => transport.write(NOTHING, () => resolve()));
    },
  });
}
