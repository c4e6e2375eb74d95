import { createServer, type Server, type TLSSocket } from "node:tls";
import type { ByteStream } from "../byte_stream.ts";
import type { Terminate, TerminatedTls } from "../plugin/contract.ts";
import { ALERT, tlsAlert } from "./alert.ts";
import type { CertificateStore, ServerCertificate } from "./contexts.ts";
import { TlsFault, type TlsFaultCode } from "./fault.ts";
import { Lru } from "./lru.ts";
import { ClientCertificates, type Judgement } from "./peer_certificates.ts";
import { nextTurn, plaintextOf } from "./plaintext.ts";
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
   * Takes the stream over; when it fails, the client is told by an alert and the stream is closed, unless the fault
   * hands back the {@link TlsFault.plaintext plaintext} for that.
   *
   * @throws {TlsFault} The client's doing.
   * @throws {GatewayError} `certificate-invalid`: there is no CA in `clientCertificate.ca`, or it cannot be used. The stream is
   * untouched then.
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
  const clients = new Lru<KnownCas>(MAX_POLICIES);
  let lastId = 0;

  const serverFor = (
    certificate: ServerCertificate,
    options: TerminateOptions,
    cas: KnownCas | undefined,
  ): Server => {
    let ofCertificate = servers.get(certificate);
    if (ofCertificate === undefined) servers.set(certificate, ofCertificate = new Lru(MAX_POLICIES));
    const key = policyKey(options, cas);
    let server = ofCertificate.get(key);
    if (server === undefined) ofCertificate.set(key, server = openServer(certificate, options));
    return server;
  };
  const clientsOf = (ca: string): KnownCas => {
    let known = clients.get(ca);
    if (known === undefined) {
      clients.set(ca, known = { id: ++lastId, certificates: new ClientCertificates(ca) });
    }
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
      const required = clientCertificate?.mode === "require";
      const outcome = await handshake(serverFor(certificate, options, asked), transport, (socket) => {
        const client = asked?.certificates.judge(socket);
        if (required && client?.kind !== "verified" && alertIsPossible(socket)) transport.fail();
        return client;
      });
      if (outcome.kind !== "secure") throw await failure(outcome, transport);
      const { socket, client } = outcome;
      if (required && client?.kind !== "verified") throw await refusal(socket, transport, client);
      transport.settle();
      return { stream: plaintextOf(socket, transport), info: describe(socket, client) };
    },
    close() {
      clients.clear();
    },
  };
}

/** A set of CAs, and the number that stands for its text: 50 KB in every key would cost each handshake 30 µs. */
interface KnownCas {
  readonly id: number;
  readonly certificates: ClientCertificates;
}

function policyKey(
  { alpn = [], minVersion = "TLSv1.2", clientCertificate }: TerminateOptions,
  cas: KnownCas | undefined,
): string {
  return JSON.stringify([minVersion, clientCertificate?.mode, cas?.id, alpn]);
}

function openServer(
  { certPem, keyPem }: ServerCertificate,
  { alpn, minVersion = "TLSv1.2", clientCertificate }: TerminateOptions,
): Server {
  const server = createServer({
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
  // "Not false" makes the runtime insist on a certificate, with the right alert; "not true" makes it leave the verdict
  // about the certificate to us, where otherwise it hangs up without a word. Should it ever see this differently, the
  // client is still refused, only less politely.
  if (clientCertificate?.mode === "require") Object.assign(server, { rejectUnauthorized: undefined });
  return server;
}

type HandshakeOutcome =
  | { readonly kind: "secure"; readonly socket: TLSSocket; readonly client: Judgement | undefined }
  | { readonly kind: "failed"; readonly error: Error }
  | { readonly kind: "closed"; readonly cause: unknown };

/** @param judge Called when the handshake is over for the server, before the last of it is sent. */
function handshake(
  server: Server,
  transport: TlsTransport,
  judge: (socket: TLSSocket) => Judgement | undefined,
): Promise<HandshakeOutcome> {
  return new Promise((resolve) => {
    // The runtime says nothing of a client that leaves in mid-handshake.
    transport.once("end", () => resolve({ kind: "closed", cause: undefined }));
    transport.on("error", (cause) => resolve({ kind: "closed", cause }));
    transport.once("close", () => resolve({ kind: "closed", cause: undefined }));
    const emit = (event: string, ...args: unknown[]): boolean => {
      if (event === "secureConnection") {
        const socket = args[0] as TLSSocket;
        resolve({ kind: "secure", socket, client: judge(socket) });
      } else if (event === "tlsClientError") {
        resolve({ kind: "failed", error: args[0] as Error });
      }
      return true;
    };
    // The events of a server do not say for which transport they are; those of a server of one's own need not.
    const own: Server = Object.create(server, { emit: { value: emit } });
    for (const accept of server.listeners("connection")) accept.call(own, transport);
  });
}

/** Ends a handshake that did not come about, with what the runtime wrote about it for an alert. */
async function failure(
  outcome: Exclude<HandshakeOutcome, { kind: "secure" }>,
  transport: TlsTransport,
): Promise<TlsFault> {
  if (outcome.kind === "closed") {
    await transport.dismiss(NOTHING);
    return new TlsFault("client_closed", "The client left in mid-handshake", { cause: outcome.cause });
  }
  const { error } = outcome;
  await nextTurn(); // by then the runtime has written its alert, in whatever order it does things
  const alert = transport.lastWords;
  await transport.dismiss(alert);
  return new TlsFault(codeOf(error, alert), error.message, { cause: error });
}

/** Ends a handshake that came about, but with a client that is not believed. */
async function refusal(
  socket: TLSSocket,
  transport: TlsTransport,
  client: Exclude<Judgement, { kind: "verified" }> = { kind: "none" },
): Promise<TlsFault> {
  const { code, reason, alert } = client.kind === "refused"
    ? { code: "bad_certificate" as const, ...client }
    : {
      code: "no_certificate" as const,
      reason: "The client has no certificate",
      alert: ALERT.certificateRequired,
    };
  if (alertIsPossible(socket)) {
    socket.destroy();
    await nextTurn(); // what the runtime would have said instead is kept back by the transport
    await transport.dismiss(tlsAlert(alert));
    return new TlsFault(code, reason);
  }
  transport.settle();
  return new TlsFault(code, reason, { plaintext: plaintextOf(socket, transport) });
}

/**
 * Whether an alert may still be sent when the runtime has just finished a handshake: in a full one of TLS 1.2, where
 * it has yet to send its ChangeCipherSpec, and an alert in the clear may stand in its place. Later only the runtime
 * could make one, and does not.
 */
function alertIsPossible(socket: TLSSocket): boolean {
  return socket.getProtocol() === "TLSv1.2" && !socket.isSessionReused();
}

const NOTHING = new Uint8Array();
const RECORD_ALERT = 21;

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

function describe(socket: TLSSocket, client: Judgement | undefined): TerminatedTls {
  return {
    version: socket.getProtocol() ?? "unknown",
    ...(socket.alpnProtocol && { alpn: socket.alpnProtocol }),
    ...(client?.kind === "verified" && { clientCertificates: client.chain }),
  };
}
