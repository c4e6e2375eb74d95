import { isDeepStrictEqual } from "node:util";
import { FailureLimits } from "../../../core/failure_limits.ts";
import { GatewayError, type Log, messageOf, type PluginFiles } from "../../../core/plugin/mod.ts";
import type { WsAgentConfig } from "../config.ts";
import type { Fetch } from "./bounded_fetch.ts";
import { type Clock, SYSTEM_CLOCK } from "../clock.ts";
import { ControllerClient } from "./controller_client.ts";
import { ControllerSource } from "./controller_source.ts";
import type { Authenticator, AuthRefusal, AuthResult } from "./grant.ts";
import { JwtSource, looksLikeJwt } from "./jwt_source.ts";
import { Slowdown } from "./slowdown.ts";
import { SourceLines } from "./source_lines.ts";
import { parseTokenFile, type TokenEntry } from "./token_file.ts";
import { TokenSource } from "./token_source.ts";
import { countsAgainstSource, refuse } from "./verdict.ts";

/** The part of the plugin's config that says who may come. */
export type AuthConfig =
  & Pick<WsAgentConfig, "tokens" | "jwt" | "controller" | "domain">
  & { readonly limits: Pick<WsAgentConfig["limits"], "failedAuthPerMinute"> };

export interface AuthTools {
  readonly log: Log;
  /** @default the system's */
  readonly clock?: Clock;
  /** @default the runtime's */
  readonly fetch?: Fetch;
}

/** Longer than any token, and than what the message that brings it can hold. */
const MAX_TOKEN_LENGTH = 65_535;
/** Of one source. As many as a house full of agents can have under way while a controller thinks. */
const MAX_AT_ONCE = 16;
const MAX_IN_LINE = 1024;

/** Where proofs are looked up, by what is configured now. */
interface Sources {
  readonly jwt?: JwtSource | undefined;
  readonly controller?: ControllerSource | undefined;
}

/** Tells who an agent is: by the token file, by JWT, or by a controller. Without any of them, nobody gets in. */
export class AgentAuthenticator implements Authenticator {
  readonly #log: Log;
  readonly #clock: Clock;
  readonly #fetch: Fetch;
  readonly #failures = new Map<AuthRefusal["reason"], number>();
  readonly #limits: FailureLimits;
  readonly #lines = new SourceLines(MAX_AT_ONCE, MAX_IN_LINE);
  readonly #slowdown: Slowdown;
  readonly #tokens: TokenSource;
  #config: AuthConfig;
  #sources: Sources;

  /** @throws {GatewayError} `config-invalid`: the token file; see {@link parseTokenFile}. */
  constructor(config: AuthConfig, files: PluginFiles, tools: AuthTools) {
    this.#log = tools.log;
    this.#clock = tools.clock ?? SYSTEM_CLOCK;
    this.#fetch = tools.fetch ?? fetch;
    const entries = entriesOf(config, files);
    this.#config = config;
    this.#limits = new FailureLimits(config.limits.failedAuthPerMinute);
    this.#slowdown = new Slowdown(this.#clock);
    this.#tokens = new TokenSource(this.#clock);
    this.#tokens.use(entries, config.domain);
    this.#sources = { jwt: this.#openJwt(config), controller: this.#openController(config) };
    this.#tellWhatItMeans();
  }

  /** How often a proof was refused, by reason; also those that a controller refused at a registration. */
  get failures(): ReadonlyMap<AuthRefusal["reason"], number> {
    return this.#failures;
  }

  /** Never rejects. */
  async authenticate(
    token: string,
    source: string,
    { signal }: { readonly signal: AbortSignal },
  ): Promise<AuthResult> {
    const result = await this.#inTurn(token, source, signal);
    if ("refusal" in result) this.#countFailure(result.refusal.reason);
    return result;
  }

  /**
   * Takes a new config and new files. Grants that were given go by them from now on: ask each whether it is still good,
   * and about what it has registered.
   *
   * @throws {GatewayError} `config-invalid`: the token file. Nothing has changed then.
   */
  reload(config: AuthConfig, files: PluginFiles): void {
    const entries = entriesOf(config, files);
    const old = this.#config;
    this.#config = config;
    this.#limits.perMinute = config.limits.failedAuthPerMinute;
    this.#tokens.use(entries, config.domain);
    const { jwt, controller } = this.#sources;
    const keepsJwt = isDeepStrictEqual(old.jwt, config.jwt) && old.domain === config.domain;
    const keepsController = isDeepStrictEqual(old.controller, config.controller);
    this.#sources = {
      jwt: keepsJwt ? jwt : this.#openJwt(config),
      controller: keepsController ? controller : this.#openController(config),
    };
    if (!keepsJwt) jwt?.[Symbol.dispose]();
    if (!keepsController) controller?.[Symbol.dispose]();
    this.#tellWhatItMeans();
  }

  /** What is under way ends as refused. */
  [Symbol.dispose](): void {
    this.#slowdown[Symbol.dispose]();
    this.#sources.jwt?.[Symbol.dispose]();
    this.#sources.controller?.[Symbol.dispose]();
  }

  async #inTurn(token: string, source: string, signal: AbortSignal): Promise<AuthResult> {
    if (this.#isBlocked(source)) return BLOCKED;
    using place = await this.#lines.enter(source, signal);
    if (place === undefined) return refuse("blocked", "Too many attempts from your address at once");
    if (this.#isBlocked(source)) return BLOCKED; // by those who were before it in line
    const result = await this.#verify(token, source, signal);
    if (!countsAgainstSource(result)) return result;
    this.#limits.failed(source, this.#clock.monotonic());
    await this.#slowdown.wait(); // in its place: those behind it wait too
    return result;
  }

  #isBlocked(source: string): boolean {
    return this.#limits.isOver(source, this.#clock.monotonic());
  }

  async #verify(token: string, source: string, signal: AbortSignal): Promise<AuthResult> {
    const { jwt, controller } = this.#sources;
    if (token === "" || token.length > MAX_TOKEN_LENGTH) return refuse("malformed", "This is no token");
    try {
      // A JWT is nothing that a token file or a controller would know, so no other place is asked about it.
      if (jwt !== undefined && looksLikeJwt(token)) return await jwt.authenticate(token);
      return this.#tokens.authenticate(token) ??
        await controller?.authenticate(token, source, signal) ??
        refuse("bad_token", "This token is not known");
    } catch (error) {
      this.#log.error("authentication_failed", { source, reason: messageOf(error) });
      return refuse("internal_error", "The gateway can't check this token");
    }
  }

  #countFailure(reason: AuthRefusal["reason"]): void {
    this.#failures.set(reason, (this.#failures.get(reason) ?? 0) + 1);
  }

  #openJwt({ jwt, domain }: AuthConfig): JwtSource | undefined {
    const tools = { clock: this.#clock, fetch: this.#fetch, log: this.#log };
    return jwt && new JwtSource(jwt, domain, tools);
  }

  #openController({ controller }: AuthConfig): ControllerSource | undefined {
    if (controller === undefined) return undefined;
    const tools = { clock: this.#clock, fetch: this.#fetch, log: this.#log };
    return new ControllerSource(new ControllerClient(controller.url, controller.timeoutMs, tools), {
      clock: this.#clock,
      failed: (reason) => this.#countFailure(reason),
    });
  }

  #tellWhatItMeans(): void {
    const { tokens, jwt, controller } = this.#config;
    if (tokens !== undefined || jwt !== undefined || controller !== undefined) return;
    this.#log.warn("nobody_may_connect", { reason: "None of tokens, jwt and controller is configured" });
  }
}

const BLOCKED: AuthResult = refuse("blocked", "Too many failed attempts from your address; try again later");

/** @throws {GatewayError} `config-invalid`. */
function entriesOf({ tokens }: AuthConfig, files: PluginFiles): readonly TokenEntry[] {
  if (tokens === undefined) return [];
  const text = files[tokens];
  if (text === undefined) throw new GatewayError("config-invalid", `The token file "${tokens}" was not read`);
  return parseTokenFile(text, tokens);
}
