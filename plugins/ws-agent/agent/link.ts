import { type ByteStream, closeQuietly, GatewayError } from "../../../core/plugin/mod.ts";
import type { Clock } from "../clock.ts";
import type { Reason } from "../control/reason.ts";
import { connectWebSocket } from "../websocket/connect.ts";
import { openYamux } from "../yamux/mod.ts";
import type { SessionEnd, YamuxSession, YamuxStream } from "../yamux/yamux.ts";
import { replaying } from "../../../core/data_plane/streams/replaying.ts";
import { ControlChannel } from "./control_channel.ts";
import { makeProof } from "./credentials.ts";
import { authorityOf, firstHop, type GatewayAddress } from "./gateway_address.ts";
import type { AgentNetwork } from "./network.ts";
import { connectThrough } from "./proxy/connect_proxy.ts";
import { formatProxy } from "./proxy/proxy_address.ts";
import { type RegistrationEvents, Registrations } from "./registrations.ts";
import type { AgentSettings } from "./settings.ts";

/** The subprotocol that says which kind of agent this is. */
const SUBPROTOCOL = "postern.v1";
/** What a gateway may open at one time on one connection; what comes above is reset. Above the gateway's own default of 1000. */
const MAX_STREAMS = 2000;

/** The times of a connection, in milliseconds. */
export interface LinkTimes {
  /** One absolute deadline: from the dial until the gateway has let it in. */
  readonly connectMs: number;
  readonly heartbeatMs: number;
  /**
   * After so long without a byte, the gateway counts as gone although TCP says nothing: the machine's address has changed, or a NAT has
   * forgotten the connection. More than {@link heartbeatMs}, with time for an answer.
   */
  readonly silenceMs: number;
}

export const LINK_TIMES: LinkTimes = { connectMs: 10_000, heartbeatMs: 15_000, silenceMs: 20_000 };

export interface LinkPlan {
  readonly settings: AgentSettings;
  /** Which of the parallel connections this is, from 0: the gateway evicts what it has in the same slot. */
  readonly slot: number;
  /** When this agent was started, milliseconds since 1970. */
  readonly epoch: number;
  readonly network: AgentNetwork;
  readonly clock: Clock;
  readonly random: () => number;
  readonly times: LinkTimes;
  readonly events: RegistrationEvents;
  /** Serves a public connection. Owns the stream; must not throw. */
  readonly serve: (stream: YamuxStream, link: GatewayLink) => void;
  /** Ends the attempt. */
  readonly signal: AbortSignal;
}

/** How a connection that stood has ended. */
export interface LinkEnd {
  readonly reason: string;
  /** What the gateway said at the end, as it came. */
  readonly farewell?: Reason;
}

/**
 * Opens a connection to the gateway: TCP, TLS, WebSocket, yamux, and the control stream, up to where the gateway has let it in.
 *
 * @throws {GatewayError} `dial-failed` or `dial-timeout`, with a message for people. {UpgradeRefused} {HandshakeFault} {Refused}.
 */
export async function openLink(plan: LinkPlan): Promise<GatewayLink> {
  const { settings, clock, times, signal } = plan;
  const attempt = new AbortController();
  let late = false;
  const abort = () => attempt.abort(signal.reason);
  signal.addEventListener("abort", abort, { once: true });
  if (signal.aborted) abort();
  const forget = clock.after(times.connectMs, () => {
    late = true;
    attempt.abort();
  });
  try {
    return await connect(plan, attempt.signal);
  } catch (error) {
    if (!late) throw error;
    throw new GatewayError(
      "dial-timeout",
      `${placeOf(settings.gateway)} did not answer in ${times.connectMs / 1000} s${byWayOf(settings)}`,
    );
  } finally {
    forget();
    signal.removeEventListener("abort", abort);
  }
}

async function connect(plan: LinkPlan, signal: AbortSignal): Promise<GatewayLink> {
  const { settings: { gateway, credentials, name }, clock, slot, epoch } = plan;
  signal.throwIfAborted();
  const transport = await openTransport(plan, signal);
  const stream = await connectWebSocket(transport, {
    host: authorityOf(gateway),
    path: gateway.path,
    protocol: SUBPROTOCOL,
    headers: { "Postern-Agent": `epoch=${epoch}; connection=${slot}` },
    signal,
  });
  const link = new GatewayLink(stream, plan);
  const abort = () => link.close("The attempt was given up");
  signal.addEventListener("abort", abort);
  try {
    signal.throwIfAborted();
    const proof = await makeProof(credentials, name, clock.wall());
    await link.control.authenticate(proof.token, proof.clientId);
    link.begin(proof.expiresAt);
    return link;
  } catch (error) {
    link.close("The gateway did not let it in");
    throw error;
  } finally {
    signal.removeEventListener("abort", abort);
  }
}

async function openTransport({ settings, network }: LinkPlan, signal: AbortSignal): Promise<ByteStream> {
  const { gateway, tls, proxy } = settings;
  const stream = await network.connect(firstHop(settings), signal).catch((error) => {
    const place = proxy === undefined ? placeOf(gateway) : `the proxy at ${formatProxy(proxy)}`;
    throw new GatewayError("dial-failed", `Cannot reach ${place}: ${dialFault(error)}`, { cause: error });
  });
  const { host, port } = gateway;
  const rest = proxy && await connectThrough(stream, proxy, { host, port }, signal);
  if (!gateway.secure) return rest ? replaying(stream, rest) : stream;
  if (rest !== undefined && rest.length > 0) {
    closeQuietly(stream);
    throw new GatewayError("dial-failed", "Somebody spoke before TLS: the proxy is none, or looks inside");
  }
  return await network.startTls(stream, host, tls, signal);
}

function byWayOf({ proxy }: AgentSettings): string {
  return proxy === undefined ? "" : `, by way of the proxy at ${formatProxy(proxy)}`;
}

function placeOf(gateway: GatewayAddress): string {
  return `the gateway at ${authorityOf(gateway)}`;
}

function dialFault(error: unknown): string {
  if (error instanceof Deno.errors.ConnectionRefused) return "nothing listens there";
  return error instanceof Error ? error.message : String(error);
}

function sessionFault(kind: SessionEnd["kind"], detail: string | undefined): string | undefined {
  if (kind === "closed" || kind === "peer_closed") return undefined;
  // The runtime's TLS says this, and where to read about it, of a TCP connection that ended without a word.
  return detail?.includes("close_notify") ? "The connection to the gateway broke off" : detail;
}

/** One connection to the gateway that was let in. */
export class GatewayLink {
  readonly slot: number;
  readonly session: YamuxSession;
  readonly control: ControlChannel;
  readonly registrations: Registrations;
  /** Nothing new is to happen on it. */
  leaving = false;
  /** When its proof is over, milliseconds since 1970. */
  expiresAt: number | undefined;
  /** Settles once; never rejects. */
  readonly ended: Promise<LinkEnd>;
  /** Resolves when the gateway asks to go elsewhere. */
  readonly goneAway: Promise<void>;
  readonly #plan: LinkPlan;
  #reason: string | undefined;
  #stopBeating = () => {};
  #forgetSilence = () => {};

  constructor(stream: ByteStream, plan: LinkPlan) {
    this.#plan = plan;
    this.slot = plan.slot;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.goneAway = promise;
    this.session = openYamux(stream, {
      role: "client",
      maxStreams: MAX_STREAMS,
      onStream: (opened) => plan.serve(opened, this),
    });
    this.session.onGoAway = resolve;
    this.control = new ControlChannel(this.session.open());
    this.registrations = new Registrations(this.control, plan);
    this.ended = this.#end();
  }

  /** It was let in. */
  begin(expiresAt: number | undefined): void {
    this.expiresAt = expiresAt;
    const { clock, times } = this.#plan;
    this.#stopBeating = clock.every(times.heartbeatMs, () => this.#beat());
    this.session.ping().catch(() => {}); // so that there is a round trip to show
  }

  /** Public connections that are open on it. */
  get streams(): number {
    return Math.max(0, this.session.streams - 1);
  }

  /** Ends it at once, with everything that goes over it. Harmless when repeated. */
  close(reason: string): void {
    this.#reason ??= reason;
    this.#stopBeating();
    this.#forgetSilence();
    this.registrations.close();
    this.session.close();
  }

  #beat(): void {
    this.control.heartbeat(this.#plan.clock.wall());
    this.#watchSilence();
  }

  /** Looks for a sign of life when there must have been one, and not only at the next heartbeat. */
  #watchSilence(): void {
    const { clock, times } = this.#plan;
    const left = times.silenceMs - this.#silentMs();
    this.#forgetSilence();
    if (left > 0) this.#forgetSilence = clock.after(left, () => this.#watchSilence());
    else this.close(`Nothing heard from the gateway for ${Math.round(this.#silentMs() / 1000)} s`);
  }

  #silentMs(): number {
    return performance.now() - this.session.lastHeardAt;
  }

  async #end(): Promise<LinkEnd> {
    await Promise.race([this.control.ended, this.session.ended]);
    this.session.close(); // which ends the control stream, too
    const [{ farewell, fault }, { kind, detail }] = await Promise.all([
      this.control.ended,
      this.session.ended,
    ]);
    const told = this.#reason ?? fault ?? farewell?.text;
    const reason = told ?? sessionFault(kind, detail) ?? "The gateway closed the connection";
    this.close(reason);
    return { reason, ...(farewell !== undefined && { farewell }) };
  }
}
