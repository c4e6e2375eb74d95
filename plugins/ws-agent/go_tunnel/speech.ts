import type { ByteStream, ConnectionInfo } from "../../../core/plugin/mod.ts";
import { formatReason, type ReasonWord } from "../control/reason.ts";
import { isServiceName } from "../names.ts";
import type { AgentSpeech, Introduction } from "../session/agent_speech.ts";
import { answerAll, type ConversationTools } from "../session/conversation.ts";
import { Outgoing } from "../session/outgoing.ts";
import type { Registration, RegistrationFailure } from "../session/registrar.ts";
import type { Service } from "../session/service.ts";
import type { TunnelSession } from "../session/session.ts";
import { LineReader } from "./line_reader.ts";
import {
  encodeGoTunnelLine,
  type FromGoTunnel,
  type GoTunnelRoute,
  parseGoTunnelLine,
  type ToGoTunnel,
} from "./messages.ts";
import { encodeGoTunnelHeader } from "./stream_header.ts";

/**
 * Agents of go-tunnel, see PROTOCOL.md. They register all their hosts with their first line, and get one answer to it:
 * nothing but pings comes behind.
 */
export class GoTunnelSpeech implements AgentSpeech {
  readonly kind = "go-tunnel";
  readonly firstStays = true;
  readonly renewsToken = true;
  readonly #lines: LineReader;
  readonly #outgoing: Outgoing;
  #routes: readonly GoTunnelRoute[] = [];
  #isAnswered = false;

  /** @param control The first stream that the agent has opened. */
  constructor(control: ByteStream) {
    this.#lines = new LineReader(control);
    this.#outgoing = new Outgoing(control);
  }

  get onStalled(): (() => void) | undefined {
    return this.#outgoing.onStalled;
  }

  set onStalled(stalled: (() => void) | undefined) {
    this.#outgoing.onStalled = stalled;
  }

  /** The next message, or `null` when the agent has ended the stream. */
  async receive(): Promise<FromGoTunnel | null> {
    const line = await this.#lines.read();
    return line && parseGoTunnelLine(line);
  }

  async introduction(): Promise<Introduction | "no_auth" | null> {
    const message = await this.receive();
    if (message === null) return null;
    if (message.type !== "register") return "no_auth";
    this.#routes = message.routes;
    return { token: message.token, clientId: await clientIdOf(message.routes) };
  }

  deny(word: ReasonWord, message: string): void {
    this.#refuse(
      word === "held" ? alreadyRegistered(this.#routes[0]?.host ?? "") : formatReason(word, message),
    );
  }

  /** All of them, or none. */
  async welcome(session: TunnelSession, { registrar, tunnels }: ConversationTools): Promise<void> {
    if (this.#routes.length === 0) return tunnels.end(session, "registration_refused", "no routes");
    for (const [index, route] of this.#routes.entries()) {
      const result = await registrar.register(session, registrationOf(route, index));
      if (session.ended !== undefined) return;
      if ("refused" in result) return tunnels.end(session, "registration_refused", refusalOf(route, result));
    }
    this.#isAnswered = true;
    this.#send({ type: "ack", ok: true });
  }

  converse(session: TunnelSession, servicesPerTunnel: number, tools: ConversationTools): Promise<void> {
    const { clock } = tools;
    return answerAll(session, this, servicesPerTunnel, tools, ({ type }) => {
      switch (type) {
        case "pong": // with the agent's own time
          session.heartbeatAcked(undefined, clock.monotonic());
          return undefined;
        case "ping":
          this.#send({ type: "pong", ts: clock.wall() });
          return undefined;
        case "register":
          return "An agent registers once";
      }
    });
  }

  heartbeat(time: number): void {
    this.#send({ type: "ping", ts: time });
  }

  /** Such an agent has no ear for it, once it is in. */
  farewell(reason: string): void {
    if (!this.#isAnswered) this.#refuse(reason);
  }

  finish(): Promise<void> {
    return this.#outgoing.finish();
  }

  streamHeader({ hostAsked = "" }: Service, _connection: ConnectionInfo): Uint8Array {
    return encodeGoTunnelHeader(hostAsked);
  }

  #refuse(error: string): void {
    this.#isAnswered = true;
    this.#send({ type: "ack", ok: false, error });
  }

  #send(message: ToGoTunnel): void {
    this.#outgoing.send(encodeGoTunnelLine(message));
  }
}

/**
 * They say nothing of who they are. An agent that comes back has the same hosts, and who else has the same token and
 * the same hosts is the same agent for all that can be known.
 */
async function clientIdOf(routes: readonly GoTunnelRoute[]): Promise<string> {
  const hosts = routes.map(({ host }) => host).sort();
  const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(JSON.stringify(hosts)));
  return `go-tunnel-${new Uint8Array(digest, 0, 16).toHex()}`;
}

function registrationOf({ host, target, mode }: GoTunnelRoute, index: number): Registration {
  return {
    name: isServiceName(host) ? host : `host-${index + 1}`,
    protocol: mode === "tcp" ? "tls" : "http",
    terminated: mode === "tcp",
    hostname: host,
    target,
  };
}

function refusalOf({ host }: GoTunnelRoute, { refused, message }: RegistrationFailure): string {
  if (refused === "held" || refused === "duplicate") return alreadyRegistered(host);
  return formatReason(refused, message);
}

function alreadyRegistered(host: string): string {
  return `host already registered: ${host}`;
}
