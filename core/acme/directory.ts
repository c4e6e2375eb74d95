import "./no_environment.ts";
import acme from "acme-client";
import { messageOf } from "../errors.ts";
import type { Log } from "../log.ts";
import type { Bundle } from "./bundle.ts";
import type { AcmeCache } from "./cache.ts";
import type { AcmeSettings, WantedName } from "./contract.ts";
import { AcmeFault } from "./fault.ts";
import { plainText } from "./http.ts";
import { decided } from "./polling.ts";
import type { Challenge, Solvers } from "./solvers.ts";
import { through } from "./transport.ts";

/** Asks somebody for certificates. */
export interface Orderer {
  /**
   * @throws {AcmeFault} There is none.
   * @throws The signal's reason.
   */
  order(wanted: WantedName, signal: AbortSignal): Promise<Bundle>;
}

type Order = Awaited<ReturnType<acme.Client["createOrder"]>>;
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
  }

  async order(wanted: WantedName, signal: AbortSignal): Promise<Bundle> {
    const client = this.#withAccount();
    try {
      return await this.#orderWith(await orAborted(client, signal), wanted, signal);
    } catch (error) {
      signal.throwIfAborted();
      if (!(error instanceof AcmeFault)) throw new AcmeFault("refused", plainText(messageOf(error)));
      if (error.problem !== "accountDoesNotExist") throw error;
      return await this.#orderWith(
        await orAborted(this.#withAnotherAccount(client), signal),
        wanted,
        signal,
      );
    }
  }

  [Symbol.dispose](): void {
    this.#closed.abort();
    this.#http?.close();
  }

  async #orderWith(client: acme.Client, wanted: WantedName, signal: AbortSignal): Promise<Bundle> {
    const order = await this.#through(signal, () => this.#proved(client, wanted, signal));
    signal.throwIfAborted();
    // From here on it is taken to the end, whatever that signal says: it counts against the directory's limits.
    return await this.#through(undefined, () => finish(client, order, wanted.name, this.#closed.signal));
  }

  /** @param signal Ends requests, too; without one, only the end of all does. */
  #through<T>(signal: AbortSignal | undefined, call: () => Promise<T>): Promise<T> {
    const closed = this.#closed.signal;
    const both = signal === undefined ? closed : AbortSignal.any([signal, closed]);
    return through({ client: this.#http, signal: both }, call);
  }

  /** An order for a name that the directory believes to be ours. */
  async #proved(client: acme.Client, wanted: WantedName, signal: AbortSignal): Promise<Order> {
    const order = await client.createOrder({ identifiers: [{ type: "dns", value: wanted.name }] });
    for (const authorization of await client.getAuthorizations(order)) {
      signal.throwIfAborted();
      if (authorization.status !== "valid") await this.#prove(client, order, authorization, wanted, signal);
    }
    return order;
  }

  async #prove(
    client: acme.Client,
    order: Order,
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
      const look = async () => await lookAt(client, order, authorization.url);
      const seen = await decided(look, ({ status }) => status !== "pending", signal);
      if (seen.status !== "valid") throw new AcmeFault("refused", plainText(reasonOf(seen)));
    } finally {
      await solver.withdraw(challenge).catch((error) => {
        this.#log.warn("acme_challenge_left", { name, challenge: kind, reason: messageOf(error) });
      });
    }
  }

  /** One registration, however many wait for it. */
  #withAccount(): Promise<acme.Client> {
    return this.#client ?? this.#hold(this.#through(undefined, () => this.#openAccount()));
  }

  /** The directory does not know the account of `old`. Of several who find that, the first makes another one. */
  #withAnotherAccount(old: Promise<acme.Client>): Promise<acme.Client> {
    if (this.#client !== undefined && this.#client !== old) return this.#client;
    return this.#hold(this.#through(undefined, async () => {
      await this.#cache.dropAccount();
      return await this.#openAccount();
    }));
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
    const client = new acme.Client({ directoryUrl, accountKey: key });
    await client.createAccount({ termsOfServiceAgreed: true, ...(email !== undefined && { contact }) });
    const url = client.getAccountUrl();
    await this.#cache.writeAccount({ key, url, email });
    this.#log.info("acme_account_created", { directory: directoryUrl, account: url });
    return client;
  }
}

/** Asks for the certificate of an order that is ready. */
async function finish(
  client: acme.Client,
  order: Order,
  name: string,
  signal: AbortSignal,
): Promise<Bundle> {
  const key = await acme.crypto.createPrivateEcdsaKey("P-256");
  const [, request] = await acme.crypto.createCsr({ altNames: [name] }, key);
  const taken = await client.finalizeOrder(order, request);
  const isOver = ({ status }: Order) => status === "valid" || status === "invalid";
  const done = isOver(taken) ? taken : await decided(() => client.getOrder(order), isOver, signal);
  if (done.status !== "valid") {
    throw new AcmeFault("refused", plainText(detailOf(done.error) ?? "The directory has given up the order"));
  }
  return { certPem: await client.getCertificate(done), keyPem: key.toString() };
}

async function lookAt(client: acme.Client, order: Order, url: string): Promise<Authorization> {
  const seen = (await client.getAuthorizations(order)).find((one) => one.url === url);
  if (seen === undefined) throw new AcmeFault("refused", "The directory has lost the authorization");
  return seen;
}

/** Why an authorization failed: that stands in the challenge that did (RFC 8555 §7.1.6, §8). */
function reasonOf({ status, challenges }: Authorization): string {
  const [detail] = challenges.flatMap(({ error }) => detailOf(error) ?? []);
  return detail ?? `The directory says that the authorization is ${status}`;
}

/** Of a problem document. */
function detailOf(problem: unknown): string | undefined {
  if (typeof problem !== "object" || problem === null || !("detail" in problem)) return undefined;
  return typeof problem.detail === "string" ? problem.detail : undefined;
}

/** An account is opened for all orders: one that is called off does not wait for it. */
async function orAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  const { promise: aborted, reject } = Promise.withResolvers<never>();
  const abort = () => reject(signal.reason);
  if (signal.aborted) abort();
  signal.addEventListener("abort", abort);
  try {
    return await Promise.race([work, aborted]);
  } finally {
    signal.removeEventListener("abort", abort);
  }
}
