import { type Address, hostPort, run, type RunOptions, temporaryFolder } from "./processes.ts";

/** A certificate (or chain, leaf first) and its private key, both in PEM. */
export interface PemPair {
  readonly certificate: string;
  readonly key: string;
}

export interface ClientOptions extends Pick<RunOptions, "deadlineMs"> {
  /** The name for SNI; `null` sends none. @default "localhost" */
  readonly serverName?: string | null;
  /** PEM of the CAs to trust. The handshake fails when the chain does not lead to one. @default not verified */
  readonly ca?: string;
  /** The client's own certificate. */
  readonly certificate?: PemPair;
  /** `postgres` sends an SSLRequest first. */
  readonly startTls?: "postgres";
  /** Offered in this order. */
  readonly alpn?: readonly string[];
  /** @default both */
  readonly version?: "TLSv1.2" | "TLSv1.3";
  /** Sent behind the handshake. The connection stays open until the server closes it or the deadline is over. */
  readonly input?: string | Uint8Array;
  /** More arguments for `openssl s_client`. */
  readonly args?: readonly string[];
}

export interface ClientResult {
  /** 0 when the handshake succeeded and the connection ended in order. */
  readonly code: number;
  /** What the server sent behind the handshake. */
  readonly received: string;
  /** The agreed version, when there was a handshake. */
  readonly version?: string;
  /** The agreed ALPN protocol, when some were offered. */
  readonly alpn?: string;
  /** Subject of the server's certificate, when there was one. */
  readonly subject?: string;
  /** The number in the TLS alert that ended it: 112 is `unrecognized_name`. */
  readonly alert?: number;
  /** What `openssl` said, for the message of a failed test. */
  readonly log: string;
}

/** Connects with `openssl s_client`, a TLS client that shares no code with ours. */
export async function sClient(address: Address, options: ClientOptions = {}): Promise<ClientResult> {
  await using folder = await temporaryFolder();
  const { serverName = "localhost", input = "" } = options;
  const args = ["s_client", "-connect", hostPort(address), "-ign_eof"];
  if (!options.alpn) args.push("-brief");
  args.push(...(serverName === null ? ["-noservername"] : ["-servername", serverName]));
  if (options.ca !== undefined) {
    args.push("-CAfile", await writePem(folder.path, "ca", options.ca), "-verify_return_error");
    if (serverName !== null) args.push("-verify_hostname", serverName);
  }
  if (options.certificate) {
    args.push("-cert", await writePem(folder.path, "cert", options.certificate.certificate));
    args.push("-cert_chain", `${folder.path}/cert.pem`);
    args.push("-key", await writePem(folder.path, "key", options.certificate.key));
  }
  if (options.startTls) args.push("-starttls", options.startTls);
  if (options.alpn) args.push("-alpn", options.alpn.join(","));
  if (options.version) args.push(options.version === "TLSv1.2" ? "-tls1_2" : "-tls1_3");
  args.push(...options.args ?? []);

  const { code, stdout, stderr } = await run("openssl", {
    args,
    input,
    ...(options.deadlineMs === undefined ? {} : { deadlineMs: options.deadlineMs }),
  });
  return {
    code,
    ...(options.alpn ? parseReport(stdout) : parseBrief(stdout, stderr)),
    ...parseAlert(stderr),
    log: stderr,
  };
}

type Session = Pick<ClientResult, "received" | "version" | "alpn" | "subject">;

function parseBrief(stdout: string, stderr: string): Session {
  return {
    received: stdout,
    ...field("version", stderr.match(/^Protocol version: (\S+)/m)?.[1]),
    ...field("subject", stderr.match(/^Peer certificate: (.+)/m)?.[1]),
  };
}

/** Only the long report names the ALPN protocol; it shares stdout with what the server sends. */
function parseReport(stdout: string): Session {
  const report = stdout.match(/^[^]*?\n *Verify return code:[^]*?\n---\n/)?.[0] ?? stdout;
  const tickets = /---\nPost-Handshake New Session Ticket arrived:\n[^]*?\n---\nread R BLOCK\n/g;
  return {
    received: stdout.slice(report.length).replaceAll(tickets, "").replace(/(?:closed|read:errno=\d+)\n$/, ""),
    ...field("version", report.match(/^New, (\S+), Cipher/m)?.[1]),
    ...field("alpn", report.match(/^ALPN protocol: (\S+)/m)?.[1]),
    ...field("subject", report.match(/^subject=(.+)/m)?.[1]),
  };
}

function parseAlert(stderr: string): { alert?: number } {
  const alert = stderr.match(/SSL alert number (\d+)/)?.[1];
  return alert === undefined ? {} : { alert: Number(alert) };
}

/** Writes `text` to `name`.pem in `folder` for no one else to read, and returns its path. */
export async function writePem(folder: string, name: string, text: string): Promise<string> {
  const path = `${folder}/${name}.pem`;
  await Deno.writeTextFile(path, text, { mode: 0o600 });
  return path;
}

function field<Name extends string>(name: Name, value: string | undefined): { [K in Name]?: string } {
  return value === undefined ? {} : { [name]: value } as { [K in Name]: string };
}
