import type { ByteStream } from "../byte_stream.ts";
import type { Forward } from "../plugin/contract.ts";
import { Lru } from "../tls/lru.ts";
import { KeyWatchingStream } from "./backend_key.ts";
import type { Connection } from "./connection.ts";
import { dialAny } from "./dial_targets.ts";
import type { CancelTarget, Forget } from "./postgres_cancel.ts";
import { type CancelKey, encodeCancelRequest } from "./preface/postgres.ts";
import type { Preface } from "./preface/preface.ts";
import type { Client } from "./refusal.ts";
import { proxyHeader, speaksPostgres } from "./upstream.ts";

/** A PostgreSQL session behind TLS that ends here: it can be cancelled by the key that its server is about to tell. */
export function cancellable(connection: Connection, upstream: ByteStream, decision: Forward): ByteStream {
  const { plane, record } = connection;
  const { target: to } = record;
  if (to === undefined) return upstream;
  const forward = { ...withSharedCa(decision), to };
  let forget: Forget | undefined;
  return new KeyWatchingStream(
    upstream,
    (key) => forget ??= plane.cancels.keys.remember(key, { forward }),
    () => forget?.(),
  );
}

/** The CAs of upstreams, as they were first seen. */
const knownCas = new Lru<string>(64);

/**
 * The decision with a text of CAs that all sessions have in common: it is kept as long as its session, and each one
 * that comes from a plugin's worker brings kilobytes of its own.
 */
function withSharedCa(decision: Forward): Forward {
  const { tls } = decision;
  if (tls?.ca === undefined) return decision;
  let ca = knownCas.get(tls.ca);
  if (ca === undefined) knownCas.set(tls.ca, ca = tls.ca);
  return { ...decision, tls: { ...tls, ca } };
}

/**
 * Brings a CancelRequest to the server of its session, and waits until that has closed the connection: by this the
 * client knows that the request was worked off, and hits no later query of its own.
 *
 * @throws {Refusal} The server cannot be reached.
 */
export async function deliverCancel(
  connection: Connection,
  { forward }: CancelTarget,
  key: CancelKey,
  { proxy }: Preface,
  client: Client,
): Promise<undefined> {
  const { record, plane } = connection;
  if (!record.info) throw new TypeError("The connection is not described yet");
  const upstream = connection.upstream = await dialAny(connection, forward, client, {
    header: proxyHeader(forward, record.info, proxy),
    sslRequested: forward.tls !== undefined && speaksPostgres(record.info),
    head: encodeCancelRequest(key), // and nothing that came behind it
    tls: forward.tls,
  });
  await readAway(upstream);
  if (record.result !== undefined) return; // ended from outside
  record.result = "postgres_cancel";
  plane.cancels.delivered(record.age);
  if (plane.log.enabled("info")) {
    plane.log.info("postgres_cancel", record.fields({ ms: Math.round(record.age) }));
  }
}

/** Until the server closes; it says nothing, and what it says all the same is nobody's. */
async function readAway(upstream: ByteStream): Promise<void> {
  const buffer = new Uint8Array(64);
  try {
    while (await upstream.read(buffer) !== null);
  } catch {
    // closed as well, by a reset or because the time is over
  }
}

/** A stranger's guess takes about as long as a request that was delivered, so that this does not tell the two apart. */
export async function keepWaiting({ plane }: Connection): Promise<void> {
  await new Promise((resolve) => setTimeout(resolve, plane.cancels.usualMs));
}
