import type { PrivateService } from "../private_name.ts";
import { type Allowance, DEFAULT_ALLOWANCE, denialOf, mayAccess } from "./allowance.ts";
import type { Clock } from "../clock.ts";
import type { AccessAnswer, AuthResult, Grant, PortRange, RequestedService } from "./grant.ts";
import { endOf, type TokenEntry } from "./token_file.ts";
import type { TokenLimits } from "./token_limits.ts";
import { TokenTable } from "./token_table.ts";
import { refuse } from "./verdict.ts";

const ENDED = {
  revoked: "This token has been revoked",
  expired: "This token has expired",
} as const;

/** The tokens of the token file. */
export class TokenSource {
  readonly #clock: Clock;
  #table = new TokenTable([]);
  #domain = "";

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Takes the entries of the file as it is now. Grants that were given go by them from now on. */
  use(entries: readonly TokenEntry[], domain: string): void {
    this.#table = new TokenTable(entries);
    this.#domain = domain;
  }

  /** @returns `undefined` when the file has no such token. */
  authenticate(token: string): AuthResult | undefined {
    const entry = this.#table.find(token);
    if (entry === undefined) return undefined;
    const end = endOf(entry, this.#clock.wall());
    return end === undefined ? { grant: new TokenGrant(this, entry) } : refuse(end, ENDED[end]);
  }

  /** What the file says today of a token that was good once, or why it is not any more. */
  lookAgain(entry: TokenEntry): { readonly entry: TokenEntry } | { readonly gone: string } {
    const today = this.#table.successorOf(entry);
    if (today === undefined) return { gone: "This token has been removed" };
    const end = endOf(today, this.#clock.wall());
    return end === undefined ? { entry: today } : { gone: ENDED[end] };
  }

  denialOf(allowance: Allowance, service: RequestedService): string | undefined {
    return denialOf(allowance, service, this.#domain);
  }
}

/** Goes by what the file says at the time of the question. */
class TokenGrant implements Grant {
  readonly owner: string;
  readonly principal: string;
  readonly #source: TokenSource;
  readonly #entry: TokenEntry;

  constructor(source: TokenSource, entry: TokenEntry) {
    this.#source = source;
    this.#entry = entry;
    this.owner = entry.name ?? entry.id;
    this.principal = `token:${entry.id}`;
  }

  get expiresAt(): number | undefined {
    return this.#today?.expires;
  }

  get ports(): readonly PortRange[] | undefined {
    return this.#today?.allow?.ports;
  }

  get limits(): TokenLimits | undefined {
    return this.#today?.limits;
  }

  allows(service: RequestedService): string | undefined {
    const found = this.#source.lookAgain(this.#entry);
    if ("gone" in found) return found.gone;
    return this.#source.denialOf(found.entry.allow ?? DEFAULT_ALLOWANCE, service);
  }

  mayAccess(service: PrivateService): AccessAnswer {
    const found = this.#source.lookAgain(this.#entry);
    const may = "entry" in found && mayAccess(found.entry.allow ?? DEFAULT_ALLOWANCE, service);
    return may ? "may" : "may_not";
  }

  stillGood(): string | undefined {
    const found = this.#source.lookAgain(this.#entry);
    return "gone" in found ? found.gone : undefined;
  }

  /** Once the token is gone, what was known of it last. */
  get #today(): TokenEntry {
    const found = this.#source.lookAgain(this.#entry);
    return "entry" in found ? found.entry : this.#entry;
  }
}
