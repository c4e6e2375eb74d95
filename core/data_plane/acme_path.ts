import type { ConnectionInfo } from "../plugin/contract.ts";
import type { Connection } from "./connection.ts";
import { CHALLENGE_READ_BYTES, parseChallengeRequest } from "./http_challenge.ts";
import { type Client, Refusal } from "./refusal.ts";
import { replaying } from "./streams/replaying.ts";

/*
 * The steps of a connection's path that there are for the sake of certificates that are asked for: a directory that
 * looks whether this gateway has a name, and clients that come before the certificate.
 */

/**
 * Looks whether a client of a listener for plain HTTP is a directory that looks for a challenge that is answered here.
 * Whoever begins otherwise is read no further.
 *
 * @returns The client with what was read, which goes on as any other when there is no token.
 */
export async function readChallenge(
  connection: Connection,
  client: Client,
): Promise<{ readonly token?: string; readonly client: Client }> {
  const { queues, plane: { challenges } } = connection;
  queues.clients.add(connection);
  try {
    let { head } = client;
    for (;;) {
      const parsed = parseChallengeRequest(head);
      if (parsed.kind === "yes" && challenges.has(parsed.value)) {
        return { token: parsed.value, client: { ...client, head } };
      }
      if (parsed.kind !== "more") return { client: { ...client, head } };
      const piece = new Uint8Array(CHALLENGE_READ_BYTES);
      const length = await client.stream.read(piece);
      if (length === null) return { client: { ...client, head } };
      head = joined(head, piece.subarray(0, length));
    }
  } finally {
    queues.clients.delete(connection);
  }
}

function joined(first: Uint8Array, second: Uint8Array): Uint8Array {
  const both = new Uint8Array(first.length + second.length);
  both.set(first);
  both.set(second, first.length);
  return both;
}

/** Resolves when the directory has its answer, and the connection is closed. */
export async function answerChallenge(
  connection: Connection,
  info: ConnectionInfo,
  client: Client,
): Promise<undefined> {
  const { plane, record } = connection;
  connection.beginHandling();
  plane.log.info("acme_challenge_asked", { connection: record.id, source: info.source.address });
  await plane.challenges.serve(replaying(client.stream, client.head), info, connection);
}

/**
 * Waits for a certificate that is being asked for.
 *
 * @returns The client as it is to be read from now on.
 * @throws {Refusal} There is none, and there will be none in time.
 */
export async function awaitCertificate(
  connection: Connection,
  serverName: string,
  client: Client,
): Promise<Client> {
  const { plane, record } = connection;
  connection.beginWaiting(client);
  record.state = "certificate";
  const how = await plane.awaited.wait(serverName, connection.signal);
  const waited = connection.endWaiting(client);
  connection.signal.throwIfAborted(); // who has left is counted as that, and as nothing else
  if (plane.certificates.lookup(serverName)) return waited;
  if (how === "late") {
    throw new Refusal(waited, "unavailable", `the certificate for "${serverName}" did not come in time`);
  }
  if (how === "too_many") {
    throw new Refusal(waited, "over_limit", `too many clients wait for certificates, as for "${serverName}"`);
  }
  throw new Refusal(waited, "unknown_name", `no certificate for "${serverName}"`);
}
