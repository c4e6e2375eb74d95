import {
  type Address,
  freeAddress,
  hostPort,
  owning,
  type Program,
  startProgram,
  temporaryFolder,
} from "./processes.ts";
import { type PemPair, writePem } from "./openssl.ts";

/** A running HAProxy. `address` is what its first frontend listens on. */
export interface Haproxy extends AsyncDisposable {
  readonly address: Address;
  readonly program: Program;
}

export interface SenderOptions {
  /** Where it connects to. */
  readonly to: Address;
  /** Version of the PROXY header that it sends. */
  readonly version: 1 | 2;
  /** TLVs for version 2, as HAProxy's `proxy-v2-options` names them: `crc32c`, `unique-id`. */
  readonly tlvs?: readonly ("crc32c" | "unique-id")[];
  /** The unique id that goes into the TLV. @default "postern-test" */
  readonly uniqueId?: string;
}

export interface ReceiverOptions {
  /** Ends TLS behind the PROXY header with this certificate. @default plain HTTP */
  readonly tls?: PemPair;
}

/** What a receiver answers to every HTTP request, as JSON: the addresses and TLVs of the PROXY header. */
export interface SeenByReceiver {
  readonly source: string;
  readonly destination: string;
  /** TLV 0x02, empty when there was none. */
  readonly authority: string;
  /** TLV 0x05, empty when there was none. */
  readonly uniqueId: string;
}

/** Runs HAProxy with frontends and backends of a test's own. Defaults: TCP mode, generous timeouts. */
export async function startHaproxy(
  config: (folder: string) => string | Promise<string>,
  address: Address,
): Promise<Haproxy> {
  return await owning(async (stack) => {
    const folder = stack.use(await temporaryFolder()).path;
    const path = `${folder}/haproxy.cfg`;
    await Deno.writeTextFile(path, `${DEFAULTS}\n${await config(folder)}\n`);
    const program = stack.use(await startProgram("haproxy", { args: ["-db", "-f", path] }));
    await program.waitForPort(address);
    return { address, program };
  });
}

/** HAProxy in front of something: takes TCP connections and passes them on behind a PROXY header. */
export async function startProxySender(options: SenderOptions): Promise<Haproxy> {
  const { to, version, tlvs = [], uniqueId = "postern-test" } = options;
  const address = freeAddress();
  const send = version === 1 ? "send-proxy" : "send-proxy-v2";
  const more = tlvs.length > 0 ? ` proxy-v2-options ${tlvs.join(",")}` : "";
  const config = `
frontend sender
  bind ${hostPort(address)}
  unique-id-format ${uniqueId}
  default_backend target
backend target
  server target ${hostPort(to)} ${send}${more}`;
  return await startHaproxy(() => config, address);
}

/**
 * HAProxy behind something: insists on a PROXY header (either version) and answers HTTP with what it said, see
 * {@link SeenByReceiver}.
 */
export async function startProxyReceiver(options: ReceiverOptions = {}): Promise<Haproxy> {
  const { tls } = options;
  const address = freeAddress();
  return await startHaproxy(async (folder) => {
    const pem = tls && await writePem(folder, "server", `${tls.certificate}\n${tls.key}`);
    return `
frontend receiver
  mode http
  bind ${hostPort(address)} accept-proxy${pem === undefined ? "" : ` ssl crt ${pem}`}
  http-request return status 200 content-type application/json lf-string '${SEEN_FORMAT}'`;
  }, address);
}

const DEFAULTS = `
global
  maxconn 500
defaults
  mode tcp
  timeout connect 5s
  timeout client 60s
  timeout server 60s`;

const SEEN_FORMAT = "{" + [
  `"source":"%[src]:%[src_port]"`,
  `"destination":"%[dst]:%[dst_port]"`,
  `"authority":"%[fc_pp_authority]"`,
  `"uniqueId":"%[fc_pp_unique_id]"`,
].join(",") + "}";
