import { connect, type TLSSocket } from "node:tls";
import { closeQuietly, writeAll } from "../../core/byte_stream.ts";
import type { LogEvent } from "../../core/log.ts";
import type { Plugin } from "../../core/plugin/contract.ts";
import { SYSTEM_CLOCK } from "../../plugins/mtls-postgres/clock.ts";
import { type MtlsConfig, mtlsConfig } from "../../plugins/mtls-postgres/config.ts";
import { MtlsPlugin } from "../../plugins/mtls-postgres/plugin.ts";
import { FakeDatabase, type RecordingContext, recordingContext } from "../plugins/mtls-postgres/fakes.ts";
import { createAuthority, type LeafOptions, type TestAuthority } from "../support/certificates.ts";
import { serveTcp, type TestServer } from "../support/echo.ts";
import { TestPlane, type TestPlaneOptions } from "../support/plane.ts";
import type { Connectable } from "../support/wire.ts";
import type { PemPair } from "../support/openssl.ts";
import { certificateFor } from "./static_plane.ts";

export const DOMAIN = "connect.example.com";
/** What a client asks for. */
export const NAME: string = `host-1.${DOMAIN}`;

/** The SPIFFE ID of a user that the database of {@link MtlsPlane} lets in, unless a test says otherwise. */
export function idOf(user: string): string {
  return `spiffe://example.com/orgs/acme/users/${user}`;
}

export interface MtlsPlaneOptions extends Omit<TestPlaneOptions, "plugins" | "certificates"> {
  /** Where everybody whom the database lets in is brought to. */
  readonly to: string;
  /** @default {@link DOMAIN} */
  readonly domain?: string;
  /** More keys of the plugin's section. */
  readonly section?: Readonly<Record<string, unknown>>;
  /** Asked behind the plugin. */
  readonly behind?: readonly Plugin[];
}

/**
 * A data plane in this thread with the real `mtls-postgres`, in front of a database that lets everybody in: what a
 * stranger meets, with `--allow-net` alone.
 */
export class MtlsPlane implements AsyncDisposable, Connectable {
  readonly plane: TestPlane;
  readonly plugin: MtlsPlugin;
  readonly database: FakeDatabase;
  /** For clients. */
  readonly authority: TestAuthority;
  /** PEM of the CA that the gateway's own certificate is from. */
  readonly serverCa: string;
  readonly #config: MtlsConfig;
  readonly #context: RecordingContext;

  private constructor(
    plane: TestPlane,
    plugin: MtlsPlugin,
    database: FakeDatabase,
    authorities: { readonly clients: TestAuthority; readonly server: TestAuthority },
    config: MtlsConfig,
    context: RecordingContext,
  ) {
    this.plane = plane;
    this.plugin = plugin;
    this.database = database;
    this.authority = authorities.clients;
    this.serverCa = authorities.server.certificate;
    this.#config = config;
    this.#context = context;
  }

  static async start(
    { to, section, behind = [], domain = DOMAIN, ...options }: MtlsPlaneOptions,
  ): Promise<MtlsPlane> {
    const clients = await createAuthority("Client CA");
    const { authority: server, material } = await certificateFor(`*.${domain}`);
    const context = recordingContext({ "ca.pem": clients.certificate });
    const database = new FakeDatabase();
    database.answer = () => ({ kind: "allowed", address: to });
    const config = mtlsConfig.parse({
      domain,
      issuer: "example.com",
      caCertificates: ["ca.pem"],
      database: { host: "127.0.0.1", user: "postern", name: "access" },
      failuresPerMinute: 0,
      ...section,
    });
    const plugin = await MtlsPlugin.start(config, context, {
      clock: SYSTEM_CLOCK,
      openDatabase(_config, _files, events) {
        database.events = events;
        return database;
      },
    });
    const plane = new TestPlane({ ...options, plugins: [plugin, ...behind], certificates: [material] });
    return new MtlsPlane(plane, plugin, database, { clients, server }, config, context);
  }

  get port(): number {
    return this.plane.port;
  }

  connect(): Promise<Deno.TcpConn> {
    return this.plane.connect();
  }

  /** A certificate of {@link authority}. */
  async issue(user: string, options: LeafOptions = {}): Promise<PemPair> {
    return await this.authority.issue({ uris: [idOf(user)], usage: "client", ...options });
  }

  /** Takes other CAs for clients, PEM. */
  async reload(ca: string): Promise<void> {
    await this.plugin.reload(this.#config, { "ca.pem": ca });
  }

  /** The plugin's log lines with this event word. */
  lines(event = "access"): LogEvent["fields"][] {
    return this.#context.lines(event);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.plane[Symbol.asyncDispose]();
    await this.plugin[Symbol.asyncDispose]();
  }
}

export interface VisitOptions {
  /** PEM of the CA of the gateway's certificate. */
  readonly ca: string;
  readonly port: number;
  readonly certificate?: PemPair | undefined;
  /** @default {@link NAME} */
  readonly serverName?: string;
  readonly version?: "TLSv1.2" | "TLSv1.3";
}

/** A TLS client of the runtime's own, before its handshake. */
export function dialTls({ ca, port, certificate, serverName = NAME, version }: VisitOptions): TLSSocket {
  const socket = connect({
    host: "127.0.0.1",
    port,
    ca,
    servername: serverName,
    ...(certificate && { cert: certificate.certificate, key: certificate.key }),
    ...(version && { minVersion: version, maxVersion: version }),
  });
  return socket.setNoDelay();
}

/** What a client gets that says "ping" as soon as it may: what comes back, or why nothing does. */
export async function visit(options: VisitOptions): Promise<string> {
  const socket = dialTls(options);
  const { promise, resolve } = Promise.withResolvers<string>();
  const gone = new Promise<void>((over) => socket.once("close", () => over()));
  let received = "";
  socket.once("secureConnect", () => socket.write("ping"));
  socket.on("data", (data: Uint8Array) => {
    received += new TextDecoder().decode(data);
    if (received.length >= 4) resolve(received);
  });
  socket.once("error", ({ message }: Error) => resolve(message));
  socket.once("close", () => resolve(`closed: ${received}`));
  const said = await promise;
  socket.destroy();
  await gone;
  return said;
}

/** Stands between a client and the gateway, and hands on its first record as `cut` makes it: each piece a segment. */
export function recutting(
  gateway: Connectable,
  cut: (hello: Uint8Array) => readonly Uint8Array[],
): TestServer {
  return serveTcp(async (client) => {
    const toGateway = await gateway.connect();
    toGateway.setNoDelay();
    client.setNoDelay();
    const piece = new Uint8Array(65_536);
    let length = 0;
    while (length < 5 || length < 5 + (piece[3] ?? 0) * 256 + (piece[4] ?? 0)) {
      const n = await client.read(piece.subarray(length));
      if (n === null) return closeQuietly(toGateway);
      length += n;
    }
    try {
      for (const part of cut(piece.slice(0, length))) {
        await writeAll(toGateway, part);
        await new Promise((resolve) => setTimeout(resolve)); // the gateway is to see it by itself
      }
    } catch {
      // The gateway has had enough: its answer is still to come.
    }
    await Promise.allSettled([
      client.readable.pipeTo(toGateway.writable),
      toGateway.readable.pipeTo(client.writable),
    ]);
  });
}
