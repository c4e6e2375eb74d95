import type { Clock } from "../clock.ts";
import { NO_SHARING } from "./allowance.ts";
import { formatPrivateService, type PrivateService } from "../private_name.ts";
import type { AllowedAnswer, Answer, ControllerClient, Question } from "./controller_client.ts";
import type { AccessAnswer, AuthRefusal, AuthResult, Grant, RequestedService } from "./grant.ts";
import type { TokenLimits } from "./token_limits.ts";
import { refuse } from "./verdict.ts";

const SILENT = "The gateway can't ask whether this is allowed at the moment";
/** Whatever the controller says about somebody who is in, and if it says nothing: it is asked this often at most. */
const RETRY_MS = 5000;

export interface ControllerSourceTools {
  readonly clock: Clock;
  /** Something was not allowed: at a registration, or later. */
  readonly failed: (reason: AuthRefusal["reason"]) => void;
}

/** Tokens that only a controller knows. One source is for one controller; another one, another source. */
export class ControllerSource implements Disposable {
  readonly #client: ControllerClient;
  readonly #tools: ControllerSourceTools;
  #isGone = false;

  constructor(client: ControllerClient, tools: ControllerSourceTools) {
    this.#client = client;
    this.#tools = tools;
  }

  /** Never rejects. */
  async authenticate(token: string, clientAddress: string, signal: AbortSignal): Promise<AuthResult> {
    const answer = await this.#client.ask({ token, clientAddress }, signal);
    if (answer.kind === "allowed") return { grant: new ControllerGrant(this, token, clientAddress, answer) };
    if (answer.kind === "unavailable") return refuse("controller_unavailable", SILENT);
    return refuse("controller_refused", answer.reason || "This token is not known");
  }

  get isGone(): boolean {
    return this.#isGone;
  }

  get tools(): ControllerSourceTools {
    return this.#tools;
  }

  ask(question: Question): Promise<Answer> {
    return this.#client.ask(question);
  }

  /** What it has granted is over. */
  [Symbol.dispose](): void {
    this.#isGone = true;
    this.#client[Symbol.dispose]();
  }
}

const GONE = "The gateway asks another controller now";

/** Goes by what the controller says, each time that its last answer has become old. */
class ControllerGrant implements Grant {
  readonly owner: string;
  readonly principal: string;
  readonly #source: ControllerSource;
  readonly #token: string;
  readonly #clientAddress: string;
  #goodUntil: number;
  #limits: TokenLimits | undefined;
  #ended: string | undefined;
  #isAsking = false;

  constructor(
    source: ControllerSource,
    token: string,
    clientAddress: string,
    { subject, goodUntil, limits }: AllowedAnswer,
  ) {
    this.#source = source;
    this.#token = token;
    this.#clientAddress = clientAddress;
    this.#goodUntil = Math.max(goodUntil, source.tools.clock.monotonic() + RETRY_MS);
    this.#limits = limits;
    this.owner = subject;
    this.principal = `controller:${subject}`;
  }

  /** As it was told when it was asked about the token itself the last time. */
  get limits(): TokenLimits | undefined {
    return this.#limits;
  }

  async allows(service: RequestedService): Promise<string | undefined> {
    const answer = await this.#ask({ service });
    if ("ended" in answer) return answer.ended;
    if (answer.kind === "allowed") return service.shared && !answer.share ? NO_SHARING : undefined;
    return answer.kind === "unavailable" ? SILENT : answer.reason || "This is not allowed";
  }

  async mayAccess(service: PrivateService): Promise<AccessAnswer> {
    const answer = await this.#ask({ access: formatPrivateService(service) });
    if ("ended" in answer || answer.kind === "refused") return "may_not";
    return answer.kind === "allowed" ? "may" : "unknown";
  }

  /** @returns `ended`: it is good for nothing any more. */
  async #ask(about: Pick<Question, "service" | "access">): Promise<Answer | { readonly ended: string }> {
    if (this.#source.isGone) return { ended: GONE };
    if (this.#ended !== undefined) return { ended: this.#ended };
    const answer = await this.#source.ask({
      token: this.#token,
      clientAddress: this.#clientAddress,
      ...about,
    });
    if (this.#source.isGone) return { ended: GONE };
    if (answer.kind === "allowed") {
      return this.#isSame(answer.subject) ? answer : { ended: this.#ended ?? GONE };
    }
    const isSilent = answer.kind === "unavailable";
    this.#source.tools.failed(isSilent ? "controller_unavailable" : "controller_refused");
    return answer;
  }

  stillGood(): string | undefined {
    if (this.#source.isGone) return GONE;
    if (this.#ended === undefined && this.#goodUntil <= this.#source.tools.clock.monotonic()) {
      this.#askAgain();
    }
    return this.#ended;
  }

  #askAgain(): void {
    if (this.#isAsking) return;
    this.#isAsking = true;
    const { clock, failed } = this.#source.tools;
    this.#source.ask({ token: this.#token, clientAddress: this.#clientAddress }).then((answer) => {
      this.#isAsking = false;
      if (answer.kind === "unavailable") this.#goodUntil = clock.monotonic() + RETRY_MS;
      else if (answer.kind === "allowed" && this.#isSame(answer.subject)) {
        this.#goodUntil = Math.max(answer.goodUntil, clock.monotonic() + RETRY_MS);
        this.#limits = answer.limits;
      } else if (answer.kind === "refused") {
        this.#ended = answer.reason || "This token is not good any more";
        failed("controller_refused");
      }
    });
  }

  /** A token that has become somebody else's opens nothing that was the first one's. */
  #isSame(subject: string): boolean {
    if (subject === this.owner) return true;
    this.#ended = "This token belongs to somebody else now";
    this.#source.tools.failed("controller_refused");
    return false;
  }
}
