import assert from "node:assert/strict";
import { isDecision } from "../../../core/data_plane/decision.ts";
import type { ClosedEvent, ConnectionInfo, Decision, PluginFiles } from "../../../core/plugin/contract.ts";
import type { Verdict } from "../../../plugins/mtls-postgres/access.ts";
import { mtlsConfig } from "../../../plugins/mtls-postgres/config.ts";
import { MtlsPlugin } from "../../../plugins/mtls-postgres/plugin.ts";
import { createAuthority, type LeafOptions, type TestAuthority } from "../../support/certificates.ts";
import { tlsConnection } from "../connection.ts";
import { FakeClock, FakeDatabase, type RecordingContext, recordingContext } from "./fakes.ts";

export const DOMAIN = "connect.example.com";
export const ca: TestAuthority = await createAuthority("First CA");
export const otherCa: TestAuthority = await createAuthority("Second CA");
export const ALICE = "spiffe://example.com/orgs/acme/users/alice";
export const FILES = { "ca.pem": ca.certificate };
export const SECTION = {
  domain: DOMAIN,
  issuer: "example.com",
  caCertificates: ["ca.pem"],
  database: { host: "127.0.0.1", user: "postern", name: "access" },
};

const STAYS = { signal: new AbortController().signal };

/** The plugin with a fake database and a fake clock. */
export class Bench implements AsyncDisposable {
  readonly clock = new FakeClock();
  readonly database = new FakeDatabase();
  readonly opened: FakeDatabase[] = [];
  readonly context: RecordingContext;
  plugin!: MtlsPlugin;

  private constructor(files: PluginFiles) {
    this.context = recordingContext(files);
  }

  static async start(section: object = {}, files: PluginFiles = FILES): Promise<Bench> {
    const bench = new Bench(files);
    bench.plugin = await MtlsPlugin.start(mtlsConfig.parse({ ...SECTION, ...section }), bench.context, {
      clock: bench.clock,
      openDatabase: (_config, _files, events) => {
        const database = bench.opened.length === 0 ? bench.database : new FakeDatabase();
        bench.opened.push(database);
        database.events = events;
        return database;
      },
    });
    return bench;
  }

  async reload(section: object, files: PluginFiles = FILES): Promise<void> {
    await this.plugin.reload(mtlsConfig.parse({ ...SECTION, ...section }), files);
  }

  /** One question, of a client that stays. */
  route(connection: ConnectionInfo): Decision | undefined | Promise<Decision> {
    return this.plugin.route(connection, STAYS);
  }

  /** Both questions, as the gateway asks them. */
  async enter(
    leaf: Uint8Array | undefined,
    { host = "host-1", id, source }: Entering = {},
  ): Promise<Entered> {
    const connection = tlsConnection(`${host}.${DOMAIN}`, {
      ...(id !== undefined && { id }),
      ...(source !== undefined && { source: { address: source, port: 1 } }),
    });
    const first = await this.route(connection);
    if (first?.kind !== "terminate") return { connection, decision: first };
    const terminated = { version: "TLSv1.3", ...(leaf && { clientCertificates: [leaf] }) };
    const decision = await this.route({ ...connection, terminated });
    assert.ok(isDecision(decision));
    return { connection: { ...connection, terminated }, decision };
  }

  close({ id }: ConnectionInfo, result = "ok"): void {
    this.plugin.closed(closed(id, result));
  }

  metric(name: string, labels: Record<string, string> = {}): number {
    const found = this.plugin.metrics().filter((one) =>
      one.name === name && Object.entries(labels).every(([key, value]) => one.labels[key] === value)
    );
    assert.equal(found.length, 1, `${name} ${JSON.stringify(labels)}`);
    return found[0]?.value ?? NaN;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const end = this.plugin[Symbol.asyncDispose]();
    await this.clock.pass(0);
    await end;
    assert.equal(this.clock.timers, 0, "a timer was left");
  }
}

interface Entering {
  readonly host?: string;
  readonly id?: string;
  readonly source?: string;
}

interface Entered {
  readonly connection: ConnectionInfo;
  readonly decision: Decision | undefined;
}

export function closed(connection: string, result: string): ClosedEvent {
  return { connection, bytesIn: 0, bytesOut: 0, ms: 1, result };
}

export async function leaf(options: LeafOptions = {}, from: TestAuthority = ca): Promise<Uint8Array> {
  return (await from.issue({ uris: [ALICE], usage: "client", ...options })).der;
}

export function denied(reason: (Verdict & { kind: "denied" })["reason"]): Verdict {
  return { kind: "denied", reason };
}
