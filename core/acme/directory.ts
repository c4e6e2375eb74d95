import "./no_environment.ts";
import acme from "acme-client";
import { messageOf } from "../errors.ts";
import type { Log } from "../log.ts";
import { VERSION } from "../version.ts";
import type { Bundle } from "./bundle.ts";
import type { AcmeCache } from "./cache.ts";
import type { AcmeSettings, WantedName } from "./contract.ts";
import { AcmeFault } from "./fault.ts";
import { ask, faultOf, isBadNonce, plainText } from "./http.ts";
import type { Challenge, Solvers } from "./solvers.ts";

/** Asks somebody for certificates. */
export interface Orderer {
  /**
   * @throws {AcmeFault} There is none.
   * @throws The signal's reason.
   */
  order(wanted: WantedName, signal: AbortSignal): Promise<Bundle>;
}

/** An order and its challenges are looked at so often, with waits that double, in milliseconds: two minutes in all. */
const POLLS = { backoffAttempts: 30, backoffMin: 250, backoffMax: 5000 };

type Authorization = Awaited<ReturnType<acme.Client["getAuthorizations"]>>[number];

export type DirectorySettings = Pick<AcmeSettings, "directory" | "email" | "ca">;

/** An ACME directory (RFC 8555), with the one account that this gateway has there. */
export class AcmeDirectory implements Orderer, Disposable {
  readonly #settings: DirectorySettings;
  readonly #cache: AcmeCache;
  readonly #solvers: Solvers;
  readonly #log: Log;
  readonly #http: Deno.HttpClient | undefined;
  readonly #closed = new AbortController();
  /** With an account. */
  #client: Promise<acme.Client> | undefined;

  constructor(settings: DirectorySettings, parts: { cache: AcmeCache; solvers: Solvers; log: Log }) {
    this.#settings = settings;
    this.#cache = parts.cache;
    this.#solvers = parts.solvers;
    this.#log = parts.log;
    this.#http = settings.ca === undefined ? undefined : Deno.createHttpClient({ caCerts: [settings.ca] });
    acme.axios.defaults.adapter = (config) => this.#request(config);
  }

  async order(wanted: WantedName, signal: AbortSignal): Promise<Bundle> {
    const client = this.#withAccount();
    try {
      return await this.#order(await client, wanted, signal);
    } catch (error) {
      signal.throwIfAborted();
      if (!(error instanceof AcmeFault)) throw new AcmeFault("refused", plainText(messageOf(error)));
      if (error.problem !== "accountDoesNotExist") throw error;
      return await this.#order(await this.#withAnotherAccount(client), wanted, signal);
    }
  }

  [Symbol.dispose](): void {
    this.#closed.abort();
    this.#http?.close();
  }

  async #order(client: acme.Client, wanted: WantedName, signal: AbortSignal): Promise<Bundle> {
    const order = await client.createOrder({ identifiers: [{ type: "dns", value: wanted.name }] });
    for (const authorization of await client.getAuthorizations(order)) {
      signal.throwIfAborted();
      if (authorization.status !== "valid") await this.#prove(client, authorization, wanted, signal);
    }
    const key = await acme.crypto.createPrivateEcdsaKey("P-256");
    const [, request] = await acme.crypto.createCsr({ altNames: [wanted.name] }, key);
    const done = await client.finalizeOrder(order, request);
    // From here on it is taken to the end, whatever the signal says: it counts against the directory's limits.
    return { certPem: await client.getCertificate(done), keyPem: key.toString() };
  }

  async #prove(
    client: acme.Client,
    authorization: Authorization,
    { name, challenge: kind }: WantedName,
    signal: AbortSignal,
  ): Promise<void> {
    const offered = authorization.challenges.find(({ type }) => type === kind);
    const solver = this.#solvers[kind];
    if (offered === undefined || solver === undefined) {
      throw new AcmeFault("refused", `The directory offers no ${kind} for ${name}`);
    }
    const challenge: Challenge = {
      hostname: authorization.identifier.value,
      token: offered.token,
      keyAuthorization: await client.getChallengeKeyAuthorization(offered),
    };
    try {
      await solver.present(challenge, signal);
      await client.completeChallenge(offered);
      await client.waitForValidStatus({ ...authorization, url: authorization.url });
    } catch (error) {
      if (!(error instanceof AcmeFault)) throw await this.#explained(client, offered, error);
      throw error;
    } finally {
      await solver.withdraw(challenge).catch((error) => {
        this.#log.warn("acme_challenge_left", { name, challenge: kind, reason: messageOf(error) });
      });
    }
  }

  /** Of a challenge that failed, the directory tells why in the challenge, not in the authorization. */
  async #explained(
    client: acme.Client,
    { url }: Authorization["challenges"][number],
    error: unknown,
  ): Promise<unknown> {
    try {
      await client.waitForValidStatus({ url } as Parameters<acme.Client["waitForValidStatus"]>[0]);
      return error;
    } catch (told) {
      return told;
    }
  }

  /** One registration, however many wait for it. */
  #withAccount(): Promise<acme.Client> {
    return this.#client ?? this.#hold(this.#openAccount());
  }

  /** The directory does not know the account of `old`. Of several who find that, the first makes another one. */
  #withAnotherAccount(old: Promise<acme.Client>): Promise<acme.Client> {
    if (this.#client !== undefined && this.#client !== old) return this.#client;
    return this.#hold(this.#cache.dropAccount().then(() => this.#openAccount()));
  }

  /** Keeps it for all, unless it fails: then the next one tries again. */
  #hold(opening: Promise<acme.Client>): Promise<acme.Client> {
    const client = opening.catch((error) => {
      if (this.#client === client) this.#client = undefined;
      throw error;
    });
    return this.#client = client;
  }

  async #openAccount(): Promise<acme.Client> {
    const { directory: directoryUrl, email } = this.#settings;
    const contact = email === undefined ? [] : [`mailto:${email}`];
    const known = await this.#cache.readAccount();
    if (known !== undefined) {
      const client = new acme.Client({
        ...POLLS,
        directoryUrl,
        accountKey: known.key,
        accountUrl: known.url,
      });
      if (known.email !== email) {
        await client.updateAccount({ contact });
        await this.#cache.writeAccount({ ...known, email });
      }
      return client;
    }
    const key = (await acme.crypto.createPrivateEcdsaKey("P-256")).toString();
    const client = new acme.Client({ ...POLLS, directoryUrl, accountKey: key });
    await client.createAccount({ termsOfServiceAgreed: true, ...(email !== undefined && { contact }) });
    const url = client.getAccountUrl();
    await this.#cache.writeAccount({ key, url, email });
    this.#log.info("acme_account_created", { directory: directoryUrl, account: url });
    return client;
  }

  /** In the place of the library's own way to speak HTTP: bounded, without retries of its own, and with errors that say more. */
  async #request(config: AxiosRequest): Promise<AxiosReply> {
    const { url = "", method = "get", headers, data } = config;
    const reply = await ask(url, {
      method: method.toUpperCase(),
      headers: { ...headers.toJSON() as Record<string, string>, "User-Agent": `Postern/${VERSION}` },
      ...(typeof data === "string" && { body: data }),
      client: this.#http,
      signal: this.#closed.signal,
    });
    if (reply.status >= 400 && !isBadNonce(reply)) throw faultOf(reply, "The directory", Date.now());
    const { status, text } = reply;
    return {
      status,
      statusText: "",
      headers: Object.fromEntries(reply.headers),
      data: text,
      config,
      request: null,
    };
  }
}

type AxiosAdapter = Extract<typeof acme.axios.defaults.adapter, (...args: never[]) => unknown>;
type AxiosRequest = Parameters<AxiosAdapter>[0];
type AxiosReply = Awaited<ReturnType<AxiosAdapter>>;
