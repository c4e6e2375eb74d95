import { ControlFault } from "../control/fault.ts";
import type { ControlMessage } from "../control/messages.ts";
import { formatReason } from "../control/reason.ts";
import type { Clock } from "../clock.ts";
import type { Accesses } from "./accesses.ts";
import type { ControlChannel } from "./control_channel.ts";
import type { Outgoing } from "./outgoing.ts";
import { MessageBudget } from "./message_budget.ts";
import type { Registered, Registrar } from "./registrar.ts";
import type { Service } from "./service.ts";
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
  /** Whether the message answers one of ours, and is not counted: there are no more of these than we have asked for. */
  isOwed?(message: Message): boolean;
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
      if (!channel.isOwed?.(message) && !budget.take(clock.monotonic())) {
        return tunnels.end(session, "control_flood");
      }
      const wrong = await answer(message);
      if (wrong !== undefined) return tunnels.end(session, "protocol_error", wrong);
    }
    tunnels.end(session, "agent_left");
  } catch (error) {
    if (error instanceof ControlFault) return tunnels.end(session, "protocol_error", error.message);
    // Why it ended the multiplexer knows, and tells it; without its control stream it is no good for anything.
    session.link.close();
    await session.link.ended;
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
        channel.send(
          answerTo(await registrar.register(session, message), ({ id, url, port, asked }) => ({
            type: "serviceRegistered",
            serviceId: id,
            name: asked.name,
            url,
            ...(port !== undefined && { remotePort: port }),
          })),
        );
        return;
      case "register":
        channel.send(await answerRegister(session, message, registrar));
        return;
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
}

/** Registers what the short message asks for. @returns The answer. */
export async function answerRegister(
  session: TunnelSession,
  { name, protocol, localPort, remotePort }: Extract<ControlMessage, { readonly type: "register" }>,
  registrar: Registrar,
): Promise<ControlMessage> {
  const request = { name, protocol, remotePort, target: `port ${localPort}` };
  return answerTo(
    await registrar.register(session, request),
    ({ id }) => ({ type: "registerOk", serviceId: id }),
  );
}

function answerTo(result: Registered, success: (service: Service) => ControlMessage): ControlMessage {
  return "service" in result
    ? success(result.service)
    : { type: "registerFail", reason: formatReason(result.refused, result.message) };
}
