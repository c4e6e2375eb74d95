import {
  type Address,
  freeAddress,
  hostPort,
  isRoot,
  owning,
  type Program,
  startProgram,
  temporaryFolder,
} from "./processes.ts";
import { type PemPair, writePem } from "./openssl.ts";

/** A running nginx, as an HTTP backend. */
export interface Nginx extends AsyncDisposable {
  /** Plain HTTP. */
  readonly address: Address;
  /** HTTPS with HTTP/2, when it was started with a certificate; otherwise the same as `address`. */
  readonly tlsAddress: Address;
  readonly program: Program;
}

export interface NginxOptions {
  readonly tls?: PemPair;
  /** Files to serve by their path, `/big.bin`. Every other path answers with {@link SeenByNginx}. */
  readonly files?: Readonly<Record<string, Uint8Array>>;
  /** Insists on a PROXY header, and takes the client's address from it. @default false */
  readonly proxyProtocol?: boolean;
}

/** What nginx answers as JSON to requests for no file. */
export interface SeenByNginx {
  /** The client's address, from the PROXY header if there is one. */
  readonly client: string;
  readonly host: string;
  /** SNI, empty without TLS. */
  readonly serverName: string;
  /** `TLSv1.3`, empty without TLS. */
  readonly tls: string;
}

/** Starts nginx in a temporary folder, in the foreground, with one worker. */
export async function startNginx(options: NginxOptions = {}): Promise<Nginx> {
  const address = freeAddress();
  const tlsAddress = options.tls ? freeAddress() : address;
  return await owning(async (stack) => {
    const folder = stack.use(await temporaryFolder()).path;
    await writeFiles(`${folder}/files`, options.files ?? {});
    await Deno.writeTextFile(`${folder}/nginx.conf`, await configure(folder, address, tlsAddress, options));
    const args = ["-p", folder, "-c", `${folder}/nginx.conf`, "-e", "stderr"];
    const program = stack.use(await startProgram("nginx", { args }));
    await program.waitForPort(address);
    return { address, tlsAddress, program };
  });
}

async function writeFiles(root: string, files: Readonly<Record<string, Uint8Array>>): Promise<void> {
  await Deno.mkdir(root);
  for (const [path, bytes] of Object.entries(files)) await Deno.writeFile(`${root}${path}`, bytes);
}

async function configure(
  folder: string,
  address: Address,
  tlsAddress: Address,
  { tls, proxyProtocol = false }: NginxOptions,
): Promise<string> {
  const proxy = proxyProtocol ? " proxy_protocol" : "";
  const lines = ["ssl_protocols TLSv1.2 TLSv1.3;", `listen ${hostPort(address)}${proxy};`];
  if (tls) {
    lines.push(
      `listen ${hostPort(tlsAddress)} ssl http2${proxy};`,
      `ssl_certificate ${await writePem(folder, "cert", tls.certificate)};`,
      `ssl_certificate_key ${await writePem(folder, "key", tls.key)};`,
    );
  }
  const temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
    .map((name) => `${name}_temp_path ${folder}/${name};`).join(" ");
  const client = proxyProtocol ? "$proxy_protocol_addr" : "$remote_addr";
  return `
daemon off;
worker_processes 1;
pid ${folder}/pid;
error_log stderr;
${isRoot() ? "user root;" : ""}
events { worker_connections 1024; }
http {
  access_log off;
  ${temporary}
  server {
    ${lines.join("\n    ")}
    root ${folder}/files;
    default_type application/octet-stream;
    location / { try_files $uri @seen; }
    location @seen {
      default_type application/json;
      return 200 '{"client":"${client}","host":"$host","serverName":"$ssl_server_name","tls":"$ssl_protocol"}';
    }
  }
}
`;
}
