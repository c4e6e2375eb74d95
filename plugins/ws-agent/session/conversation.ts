import { ControlFault } from "../control/fault.ts";
import type { ControlMessage } from "../control/messages.ts";
import { formatReason } from "../control/reason.ts";
import type { Clock } from "../clock.ts";
import type { Accesses } from "./accesses.ts";
import type { ControlChannel } from "./control_channel.ts";
import type { Outgoing } from "./outgoing.ts";
import { MessageBudget } from "./message_budget.ts";
import type { Registered, Registrar } from "./registrar.ts";
import type { TunnelSession } from "./session.ts";
import type { Tunnels } from "./tunnels.ts";

export interface ConversationTools {
  readonly registrar: Registrar;
  readonly tunnels: Tunnels;
  readonly accesses: Accesses;
  readonly clock: Clock;
}

/** What an agent's messages come by. */
interface Incoming<Message> extends Pick<Outgoing, "onStalled"> {
  /** `null`: the agent has ended it. */
  receive(): Promise<Message | null>;
}

/**
 * Answers an agent that is in, one message after the other, until its session has ended. While a request is at hand none
 * is read: an agent that asks faster than it is answered is held back by the stream. Never rejects.
 *
 * @param answer Resolves to what is wrong with the message, if something is.
 */
export async function answerAll<Message>(
  session: TunnelSession,
  channel: Incoming<Message>,
  servicesPerTunnel: number,
  { tunnels, clock }: Pick<ConversationTools, "tunnels" | "clock">,
  answer: (message: Message) => Promise<string | undefined> | string | undefined,
): Promise<void> {
  const budget = new MessageBudget(servicesPerTunnel);
  channel.onStalled = () => tunnels.end(session, "control_stalled");
  try {
    for (let message; (message = await channel.receive()) !== null;) {
      if (session.ended !== undefined) return;
      if (!budget.take(clock.monotonic())) return tunnels.end(session, "control_flood");
      const wrong = await answer(message);
      if (wrong !== undefined) return tunnels.end(session, "protocol_error", wrong);
    }
    tunnels.end(session, "agent_left");
  } catch (error) {
    if (error instanceof ControlFault) return tunnels.end(session, "protocol_error", error.message);
    // Why it ended the multiplexer knows, and tells it; without its control stream it is no good for anything.
    session.yamux.close();
    await session.yamux.ended;
    tunnels.end(session, "connection_lost");
  }
}

/** Answers one of Postern's agents, see {@link answerAll}. */
export async function converse(
  session: TunnelSession,
  channel: ControlChannel,
  servicesPerTunnel: number,
  { registrar, tunnels, accesses, clock }: ConversationTools,
): Promise<void> {
  await answerAll(session, channel, servicesPerTunnel, { tunnels, clock }, answer);

  /** @returns What is wrong with the message. */
  async function answer(message: ControlMessage): Promise<string | undefined> {
    switch (message.type) {
      case "heartbeat":
        channel.send({ type: "heartbeatAck", time: message.time });
        return;
      case "heartbeatAck":
        session.heartbeatAcked(message.time, clock.monotonic());
        return;
      case "registerService":
        tell(await registrar.register(session, message), ({ service: { id, url, port, asked } }) => ({
          type: "serviceRegistered",
          serviceId: id,
          name: asked.name,
          url,
          ...(port !== undefined && { remotePort: port }),
        }));
        return;
      case "register": {
        const { name, protocol, localPort, remotePort } = message;
        const request = { name, protocol, remotePort, target: `port ${localPort}` };
        tell(await registrar.register(session, request), ({ service }) => ({
          type: "registerOk",
          serviceId: service.id,
        }));
        return;
      }
      case "unregister":
        await registrar.unregister(session, message.serviceId);
        return;
      case "accessService":
        channel.send(await accesses.grant(session, message, (told) => channel.send(told)));
        return;
      case "disconnect":
        tunnels.end(session, "agent_left");
        return;
      default:
        return `An agent does not send ${message.type} here`;
    }
  }

  function tell(
    result: Registered,
    success: (registered: Extract<Registered, { service: unknown }>) => ControlMessage,
  ): void {
    channel.send(
      "service" in result
        ? success(result)
        : { type: "registerFail", reason: formatReason(result.refused, result.message) },
    );
  }
}
