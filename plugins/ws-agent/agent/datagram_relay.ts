import { canonicalAddress } from "../../../core/net/address.ts";
import { closeQuietly, GatewayError } from "../../../core/plugin/mod.ts";
import { nextTurn } from "../turn.ts";
import { MAX_DATAGRAM_BYTES, RECEIVE_BYTES } from "../udp/datagram_frames.ts";
import { QueueMemory } from "../udp/datagram_queue.ts";
import { DatagramSender, readDatagrams } from "../udp/datagram_stream.ts";
import type { YamuxStream } from "../yamux/yamux.ts";
import { withoutPrefix } from "./datagram_prefix.ts";
import type { AgentNetwork } from "./network.ts";

/** Answers that wait for the gateway, over all flows of a thread. */
const memory = new QueueMemory(64 * 1024 * 1024);
/** How long to wait after the system has failed to receive, as it may tell of an unreachable target. */
const RETRY_MS = 10;
const MAX_FAILURES = 1000;
/** Answers that lie ready are taken one after the other; after so many, all others have their turn. */
const MAX_IN_A_ROW = 64;

/** One flow: what a public source says to the target. */
export interface DatagramFlow {
  readonly network: Pick<AgentNetwork, "openDatagrams">;
  /** An IP address, and where it takes datagrams. */
  readonly target: { readonly address: string; readonly port: number };
  /** Goes in front of each datagram to the target. */
  readonly prefix?: Uint8Array | undefined;
  readonly stream: YamuxStream;
  /** The first bytes of the stream, which were read already. */
  readonly rest: Uint8Array;
}

/**
 * Relays the datagrams of one flow by a socket of its own, until the stream ends, which it closes. Whole datagrams only, in both
 * directions; what the target does not take, or nobody takes from it in time, is lost, as datagrams are. Only the target's own answers
 * count.
 *
 * @throws {GatewayError} `dial-failed`: there is no socket to be had. Else what the stream throws.
 */
export async function relayDatagrams({ network, target, prefix, stream, rest }: DatagramFlow): Promise<void> {
  const to = { transport: "udp", hostname: target.address, port: target.port } as const;
  const socket = openSocket(network, to.hostname);
  const sender = new DatagramSender(memory, { failed: () => stream.reset() });
  sender.start(stream);
  const answers = receiveAnswers(socket, to, (answer) => {
    sender.send(prefix === undefined ? answer : withoutPrefix(answer, prefix));
  });
  let denied: unknown;
  const failed = (error: unknown) => {
    if (!(error instanceof Deno.errors.NotCapable)) return; // too long for the way, or no way there: lost, as others are
    denied = error;
    stream.reset();
  };
  try {
    await readDatagrams(stream, (datagram) => {
      const whole = prefix === undefined ? datagram : joined(prefix, datagram);
      return socket.send(whole, to).then(ignore, failed);
    }, rest);
  } catch (error) {
    stream.reset(); // a close would look like an end that is meant
    throw denied === undefined ? error : notPermitted(denied);
  } finally {
    closeQuietly(socket);
    sender.close();
    closeQuietly(stream);
    await answers;
  }
}

function openSocket(network: DatagramFlow["network"], address: string): Deno.DatagramConn {
  try {
    return network.openDatagrams(address);
  } catch (cause) {
    if (cause instanceof Deno.errors.NotCapable) throw notPermitted(cause);
    throw new GatewayError("dial-failed", "No UDP socket can be opened", { cause });
  }
}

function notPermitted(cause: unknown): GatewayError {
  return new GatewayError("dial-failed", "Not among the targets that this agent may connect to", { cause });
}

/** Never rejects; ends when the socket is closed. */
async function receiveAnswers(
  socket: Deno.DatagramConn,
  target: Deno.NetAddr,
  take: (answer: Uint8Array) => void,
): Promise<void> {
  const buffer = new Uint8Array(RECEIVE_BYTES);
  const address = canonicalAddress(target.hostname);
  for (let failures = 0, inARow = 1; failures < MAX_FAILURES; inARow++) {
    if (inARow % MAX_IN_A_ROW === 0) await nextTurn();
    try {
      const [answer, from] = await socket.receive(buffer);
      failures = 0;
      if (answer.length <= MAX_DATAGRAM_BYTES && isFrom(from as Deno.NetAddr, address, target.port)) {
        take(answer);
      }
    } catch (error) {
      if (error instanceof Deno.errors.Interrupted || error instanceof Deno.errors.BadResource) return;
      failures++;
      await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
    }
  }
}

function isFrom(from: Deno.NetAddr, address: string, port: number): boolean {
  return from.port === port && (from.hostname === address || canonicalAddress(from.hostname) === address);
}

function joined(prefix: Uint8Array, datagram: Uint8Array): Uint8Array {
  const whole = new Uint8Array(prefix.length + datagram.length);
  whole.set(prefix);
  whole.set(datagram, prefix.length);
  return whole;
}

function ignore(): void {}
