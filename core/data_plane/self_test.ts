import { createLog } from "../log.ts";
import type { RogueCertificate } from "../tls/rogue.ts";
import type { ConnectionRecord } from "./connection_record.ts";
import { DataPlane } from "./data_plane.ts";
import { SharedLimits } from "./limits.ts";
import type { PlaneSettings } from "./settings.ts";
import { LOCALHOST, type Stranger, Visit } from "./stranger.ts";

/** What the listener is called that the test's clients come by; plugins see it. */
export const SELF_TEST_LISTENER = "self-test";

/** How long one client may take to be let in or refused, and the whole test, in milliseconds. */
const ATTEMPT_MS = 10_000, TEST_MS = 15_000;
/** How often a client's fate is looked at, in milliseconds: a handshake takes a few. */
const LOOK_MS = 2;
/** More than one client at a time is a stranger's. */
const MAX_CLIENTS = 100;

/** Why a name is not proved to be closed for everybody without a good certificate. */
export interface ProofFault {
  /** `open`: somebody got in. `unproven`: nobody did, but for another reason than the certificate. */
  readonly kind: "open" | "unproven";
  readonly name: string;
  /** What happened, to be put behind the name. */
  readonly reason: string;
}

/**
 * Proves that under none of the names anybody gets in without a client certificate that leads to the right CA, by
 * trying it: with no certificate and with one of an unknown CA, by TLS 1.2 and 1.3, directly and behind PostgreSQL's
 * SSLRequest. Ends with the first fault.
 *
 * The clients connect to a listener of their own, of a second data plane in this worker: the same code, settings,
 * certificates and plugins, but with metrics, limits and a log that nobody else sees.
 *
 * @param plane The one that is about to serve the public; it is not touched.
 * @param plugin Whose names they are.
 */
export async function proveMutualTls(
  plane: Pick<DataPlane, "settings" | "router" | "idPrefix">,
  plugin: string,
  names: readonly string[],
  rogue: RogueCertificate,
): Promise<ProofFault | undefined> {
  await using rehearsal = new Rehearsal(plane, plugin);
  for (const name of names) {
    for (const stranger of strangersAt(name, rogue)) {
      const fault = await rehearsal.turnsAway(stranger);
      if (fault !== undefined) return { name, ...fault };
    }
  }
  return undefined;
}

function strangersAt(name: string, rogue: RogueCertificate): Stranger[] {
  return (["tls", "postgres"] as const).flatMap((protocol) =>
    (["TLSv1.3", "TLSv1.2"] as const).flatMap((version) =>
      [undefined, rogue].map((certificate) => ({ name, protocol, version, certificate }))
    )
  );
}

/** The stand-in for a data plane, and what becomes of the clients that come to it. */
class Rehearsal implements AsyncDisposable {
  readonly #plane: DataPlane;
  readonly #plugin: string;
  readonly #port: number;
  readonly #endsAt = performance.now() + TEST_MS;
  /** Client's port → what is known of its connection. */
  readonly #records = new Map<number, ConnectionRecord>();
  /** Connection → what the log says first about its refusal. */
  readonly #reasons = new Map<unknown, string>();

  constructor({ settings, router, idPrefix }: Parameters<typeof proveMutualTls>[0], plugin: string) {
    const sharedLimits = new SharedLimits().memory;
    const log = createLog(SELF_TEST_LISTENER, "info", ({ fields: { connection, reason, detail } }) => {
      if (!this.#reasons.has(connection)) this.#reasons.set(connection, String(reason ?? detail ?? ""));
    });
    const identity = { idPrefix: `${idPrefix}${SELF_TEST_LISTENER}-`, sharedLimits };
    this.#plane = new DataPlane(identity, withoutLimits(settings), log);
    this.#plugin = plugin;
    this.#plane.usePlugins(router.plugins);
    this.#plane.onAccepted = (record) => this.#records.set(record.peer.port, record);
    this.#port = this.#plane.listeners.listen({
      address: SELF_TEST_LISTENER,
      hostname: LOCALHOST,
      port: 0,
      kind: "stream",
      proxyFrom: [LOCALHOST],
      reusePort: false,
    });
  }

  /** What is wrong, if it does not turn the client away for its certificate. */
  async turnsAway(stranger: Stranger): Promise<Omit<ProofFault, "name"> | undefined> {
    if (this.#plane.certificates.lookup(stranger.name) === undefined) {
      return { kind: "unproven", reason: noCertificate(stranger.name) };
    }
    const endsAt = Math.min(performance.now() + ATTEMPT_MS, this.#endsAt);
    using client = await Visit.begin(this.#port, stranger);
    const record = await before(endsAt, () => this.#decided(client.port));
    this.#records.clear();
    if (record === undefined) return unproven(stranger, "was neither let in nor refused in time");
    if (gotIn(record)) {
      return { kind: "open", reason: `${describe(stranger)} was let in by plugin "${record.plugin?.name}"` };
    }
    const { result = "", id, plugin } = record;
    if (plugin !== undefined && plugin.name !== this.#plugin) {
      return unproven(stranger, `was refused by plugin "${plugin.name}", which is asked before it`);
    }
    if (!isForItsCertificate(result, stranger)) {
      return unproven(stranger, `was refused for another reason: ${result} (${this.#reasons.get(id) ?? ""})`);
    }
    client.leave();
    if (!await before(endsAt, () => client.over)) {
      return unproven(stranger, "was refused, but not hung up on");
    }
    return undefined;
  }

  /** The connection from this port, once it is let in or refused. */
  #decided(port: number): ConnectionRecord | undefined {
    const record = this.#records.get(port);
    return record && (record.result !== undefined || gotIn(record)) ? record : undefined;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#plane.close();
  }
}

/** What follows from these is tested elsewhere, and must not be in the way here. */
function withoutLimits(settings: PlaneSettings): PlaneSettings {
  const limits = {
    ...settings.limits,
    maxConnections: MAX_CLIENTS,
    maxConnectionsPerSource: 0,
    maxAcceptRatePerSource: 0,
    prefaceTimeoutMs: ATTEMPT_MS,
  };
  return { ...settings, limits };
}

/** Whether the handshake was accepted, or there was none and the connection was given to somebody all the same. */
function gotIn({ info, state, target, received }: ConnectionRecord): boolean {
  return info?.terminated !== undefined || target !== undefined || received.bytes > 0 ||
    state === "relaying" || state === "handling";
}

function isForItsCertificate(result: string, { version, certificate }: Stranger): boolean {
  if (result === (certificate ? "tls_bad_certificate" : "tls_no_certificate")) return true;
  return result === "tls_version" && version === "TLSv1.2"; // the policy wants TLS 1.3, which is tested as well
}

function noCertificate(name: string): string {
  const parent = name.slice(name.indexOf(".") + 1);
  return `there is no certificate for it; add one for "*.${parent}" under tls.certificates`;
}

function unproven(stranger: Stranger, what: string): Omit<ProofFault, "name"> {
  return { kind: "unproven", reason: `${describe(stranger)} ${what}` };
}

function describe({ protocol, version, certificate }: Stranger): string {
  const shows = certificate ? "with the certificate of an unknown CA" : "without a certificate";
  return `a client ${shows} (${version}${protocol === "postgres" ? ", PostgreSQL" : ""})`;
}

/** Looks until there is something truthy to see; `undefined` when the time is over. */
async function before<T>(endsAt: number, look: () => T): Promise<T | undefined> {
  for (;;) {
    const seen = look();
    if (seen) return seen;
    if (performance.now() >= endsAt) return undefined;
    await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
  }
}
