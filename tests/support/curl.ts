import { type Address, hostPort, run, type RunOptions, temporaryFolder } from "./processes.ts";
import { type PemPair, writePem } from "./openssl.ts";

export interface CurlOptions extends Pick<RunOptions, "deadlineMs"> {
  /** Where every connection goes, whatever the host of the URL: nothing is looked up. */
  readonly connectTo?: Address;
  /** PEM of the CAs to trust. @default certificates are not verified */
  readonly ca?: string;
  /** The client's own certificate. */
  readonly certificate?: PemPair;
  readonly headers?: Readonly<Record<string, string>>;
  /** More arguments for curl. */
  readonly args?: readonly string[];
}

export interface CurlResult {
  /** curl's exit code: 0 fine, 7 refused, 35 handshake failed, 52 empty answer, 60 certificate not trusted. */
  readonly code: number;
  /** The HTTP status, 0 when there was none. */
  readonly status: number;
  /** `1.1`, `2`; `0` when there was no answer. */
  readonly version: string;
  /** Names in lower case. */
  readonly headers: Readonly<Record<string, readonly string[]>>;
  readonly body: Uint8Array;
  readonly text: string;
  /** What curl said, for the message of a failed test. */
  readonly log: string;
}

interface WriteOut {
  readonly http_code: number;
  readonly http_version: string;
}

/** Fetches a URL with curl, an HTTP and TLS client that shares no code with ours. */
export async function curl(url: string, options: CurlOptions = {}): Promise<CurlResult> {
  await using folder = await temporaryFolder();
  const bodyPath = `${folder.path}/body`;
  // On stderr curl says what went wrong; behind that comes what is asked for here.
  const args = ["-q", "-sS", "--noproxy", "*", "-w", "%{stderr}\n%{json}\n%{header_json}", "-o", bodyPath];
  if (options.connectTo) args.push("--connect-to", `::${hostPort(options.connectTo)}`);
  if (options.ca === undefined) args.push("--insecure");
  else args.push("--cacert", await writePem(folder.path, "ca", options.ca));
  if (options.certificate) {
    args.push("--cert", await writePem(folder.path, "cert", options.certificate.certificate));
    args.push("--key", await writePem(folder.path, "key", options.certificate.key));
  }
  for (const [name, value] of Object.entries(options.headers ?? {})) args.push("-H", `${name}: ${value}`);
  args.push(...options.args ?? [], url);

  const { code, stderr } = await run("curl", {
    args,
    ...(options.deadlineMs === undefined ? {} : { deadlineMs: options.deadlineMs }),
  });
  const start = stderr.indexOf('\n{"');
  const [transfer = "{}", ...headers] = stderr.slice(start + 1).split("\n");
  const { http_code = 0, http_version = "0" } = JSON.parse(transfer) as Partial<WriteOut>;
  const body = await readIfThere(bodyPath);
  return {
    code,
    status: http_code,
    version: http_version,
    headers: JSON.parse(headers.join("\n").trim() || "{}"),
    body,
    text: new TextDecoder().decode(body),
    log: stderr.slice(0, Math.max(start, 0)),
  };
}

async function readIfThere(path: string): Promise<Uint8Array> {
  try {
    return await Deno.readFile(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return new Uint8Array();
    throw error;
  }
}
