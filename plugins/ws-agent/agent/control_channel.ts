import { type ByteStream, closeQuietly, GatewayError, writeAll } from "../../../core/plugin/mod.ts";
import { encodeControl } from "../control/codec.ts";
import type {
  AccessGranted,
  AccessService,
  ControlMessage,
  RegisterService,
  ServiceRegistered,
  Uuid,
} from "../control/messages.ts";
import { type Course, courseOf, parseReason, type Reason } from "../control/reason.ts";
import { ControlReader } from "../control/reader.ts";

/** The gateway has said no. */
export class Refused extends Error {
  override readonly name = "Refused";
  readonly reason: Reason;
  /** Whether to ask again. */
  readonly course: Course;

  constructor(message: "authFail" | "registerFail" | "accessFail", reason: Reason) {
    super(reason.text);
    this.reason = reason;
    this.course = courseOf(message, reason.word);
  }
}

/** What is shorter can be guessed, and stands in any text by chance. */
const MIN_SECRET = 8;

interface Question {
  readonly answers: readonly ControlMessage["type"][];
  resolve(message: ControlMessage): void;
  reject(error: Error): void;
}

/** How the channel ended. */
export interface ControlEnd {
  /** What the gateway said of it, as it came; absent: nothing. */
  readonly farewell?: Reason;
  /** What broke, for the log. */
  readonly fault?: string;
}

/**
 * The agent's side of the stream that control messages go over. Answers come in the order of the questions; a gateway that sends
 * anything else than what it may ends the channel.
 */
export class ControlChannel {
  readonly #stream: ByteStream;
  readonly #reader: ControlReader;
  readonly #questions: Question[] = [];
  #writing: Promise<void> = Promise.resolve();
  #farewell: Reason | undefined;
  #token = "";
  /** What every question comes to when nothing is read any more. */
  #broken: GatewayError | undefined;
  /** Settles when nothing comes any more; never rejects. */
  readonly ended: Promise<ControlEnd>;

  /** Told when an access has ended, and why. Only who has asked for one sets it: from others it is not taken. */
  onAccessEnded: ((accessId: Uuid, reason: Reason) => void) | undefined;

  /** Takes the stream over. */
  constructor(stream: ByteStream) {
    this.#stream = stream;
    this.#reader = new ControlReader(stream);
    this.ended = this.#serve().then((fault) => {
      const text = this.#farewell?.text ?? fault ?? "The gateway closed the connection";
      this.#broken = new GatewayError("dial-failed", text);
      for (const { reject } of this.#questions.splice(0)) reject(this.#broken);
      closeQuietly(stream);
      return { ...(this.#farewell !== undefined && { farewell: this.#farewell }), ...(fault && { fault }) };
    });
  }

  /**
   * Shows who this is.
   *
   * @returns The tunnel's id.
   * @throws {Refused} The gateway does not let it in. {GatewayError} `dial-failed`: the channel ended.
   */
  async authenticate(token: string, clientId: Uuid): Promise<Uuid> {
    this.#token = token;
    const answer = await this.#ask({ type: "auth", token, clientId }, ["authOk", "authFail"]);
    if (answer.type === "authOk") return answer.tunnelId;
    throw new Refused("authFail", answer.type === "authFail" ? this.#reason(answer) : { text: "" });
  }

  /** @throws {Refused} {GatewayError} As {@link authenticate}. */
  async register(service: RegisterService): Promise<ServiceRegistered> {
    const answer = await this.#ask({ type: "registerService", ...service }, [
      "serviceRegistered",
      "registerFail",
    ]);
    if (answer.type === "serviceRegistered") return answer;
    throw new Refused("registerFail", answer.type === "registerFail" ? this.#reason(answer) : { text: "" });
  }

  /** Asks to reach a private service. @throws {Refused} {GatewayError} As {@link authenticate}. */
  async access(question: AccessService): Promise<AccessGranted> {
    const answer = await this.#ask({ type: "accessService", ...question }, ["accessGranted", "accessFail"]);
    if (answer.type === "accessGranted") return answer;
    throw new Refused("accessFail", answer.type === "accessFail" ? this.#reason(answer) : { text: "" });
  }

  unregister(serviceId: Uuid): void {
    this.#send({ type: "unregister", serviceId });
  }

  heartbeat(time: number): void {
    this.#send({ type: "heartbeat", time });
  }

  /** Says goodbye, and resolves when that is on its way. Never rejects. */
  disconnect(reason: string): Promise<void> {
    return this.#send({ type: "disconnect", reason });
  }

  #ask(message: ControlMessage, answers: Question["answers"]): Promise<ControlMessage> {
    if (this.#broken !== undefined) return Promise.reject(this.#broken);
    return new Promise((resolve, reject) => {
      this.#questions.push({ answers, resolve, reject });
      void this.#send(message);
    });
  }

  /** Reasons are shown and logged: a gateway that repeats the token in one does not get it there. */
  #reason({ reason }: { readonly reason: string }): Reason {
    const { text, ...word } = parseReason(reason);
    return { ...word, text: this.#token.length < MIN_SECRET ? text : text.replaceAll(this.#token, "***") };
  }

  /** One message at a time. What can't be sent shows by the end of the channel. */
  #send(message: ControlMessage): Promise<void> {
    return this.#writing = this.#writing.then(() => writeAll(this.#stream, encodeControl(message))).catch(
      () => {
        closeQuietly(this.#stream);
      },
    );
  }

  /** @returns What broke, if it was not the gateway's proper end. */
  async #serve(): Promise<string | undefined> {
    try {
      for (let message; (message = await this.#reader.read()) !== null;) {
        if (message.type === "disconnect") {
          this.#farewell = this.#reason(message);
          return undefined;
        }
        const fault = await this.#take(message);
        if (fault !== undefined) return fault;
      }
      return undefined;
    } catch (error) {
      return error instanceof Error && error.name === "ControlFault" ? error.message : undefined;
    }
  }

  /** Waits until a heartbeat's answer is sent: whoever asks faster than it reads is held back. */
  async #take(message: ControlMessage): Promise<string | undefined> {
    if (message.type === "heartbeat") {
      await this.#send({ type: "heartbeatAck", time: message.time });
      return undefined;
    }
    if (message.type === "heartbeatAck") return undefined;
    if (message.type === "accessEnded" && this.onAccessEnded !== undefined) {
      this.onAccessEnded(message.accessId, this.#reason(message));
      return undefined;
    }
    const question = this.#questions.shift();
    if (question?.answers.includes(message.type)) {
      question.resolve(message);
      return undefined;
    }
    if (question) this.#questions.unshift(question);
    return `The gateway sent "${message.type}", which was not asked for`;
  }
}
