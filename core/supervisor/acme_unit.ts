import type {
  AcmeChange,
  AcmeQuestions,
  AcmeState,
  AcmeWorkerMethods,
  WantedName,
} from "../acme/contract.ts";
import { HourlyBudget } from "../acme/schedule.ts";
import { type Choice, chooseNames, isServedBy, servedBy } from "../acme/wanted.ts";
import { LogOnce } from "../data_plane/log_once.ts";
import type { PlaneAcme } from "../data_plane/settings.ts";
import { canonicalName } from "../names.ts";
import type { LeaseValue } from "../registry/registry.ts";
import type { CertificateMaterial } from "../tls/certificates.ts";
import { Lru } from "../tls/lru.ts";
import { ManagedWorker } from "./managed_worker.ts";
import type { AcmeUse, GatewayState } from "./state.ts";
import { within } from "./stopping.ts";

/**
 * Certificates in an hour that the tunnels of one owner may be the reason for: whoever makes up names must not use up
 * what the directory gives to all of them.
 */
const NAMES_OF_OWNER_PER_HOUR = 50;
/** Owners of whom that is counted. */
const MAX_OWNERS = 1000;
/** How long a data plane may take to hear of something, in milliseconds; one that hangs is started anew elsewhere. */
const TELL_MS = 5000;
/** How long the start of the gateway may wait for certificates that it cannot do without, in milliseconds. */
const AHEAD_MS = 120_000;
/** How often names that had to wait are looked at again, in milliseconds. */
const LOOK_AGAIN_MS = 60_000;

const NO_STATE: AcmeState = {
  certificates: [],
  names: [],
  orders: { issued: 0, renewed: 0, failed: 0, rate_limited: 0, unreachable: 0 },
};

/** A name of a tunnel for which TLS ends here. */
interface TunnelName {
  readonly owner: string;
  /** Whether its owner may be the reason for it. */
  isAdmitted: boolean;
}

/** The worker that asks for certificates, and what it is asked for: the names that routes and live tunnels hold. */
export class AcmeUnit {
  readonly worker: ManagedWorker<AcmeWorkerMethods>;
  readonly #state: GatewayState;
  readonly #tunnels = new Map<string, TunnelName>();
  readonly #owners = new Lru<HourlyBudget>(MAX_OWNERS);
  readonly #challenges = new Map<string, string>();
  readonly #warned = new LogOnce();
  #choice: Choice = { wanted: [], left: [] };
  /** What certificates are asked for ahead. */
  #first: readonly WantedName[] = [];
  #report = NO_STATE;
  /** Whether data planes listen: before, nobody could answer a directory. */
  #begun = false;
  /** Whether files, or what is asked for, serve a name: as of the last choice. */
  #isServed: (name: string) => boolean = () => false;
  /** Called after every change of the report. */
  #onReport = () => {};
  #lookingAgain: ReturnType<typeof setInterval> | undefined;
  /** The last that data planes are being told, and what they will be told behind it. */
  #telling: Promise<void> = Promise.resolve();
  #nextTelling: Promise<void> | undefined;

  constructor(state: GatewayState, { settings, permissions }: AcmeUse) {
    this.#state = state;
    let used = settings;
    this.worker = new ManagedWorker<AcmeWorkerMethods>({
      name: "acme",
      entry: new URL("../acme/worker.ts", import.meta.url),
      permissions,
      methods: { ...state.logMethods(), ...this.#methods() },
      times: state.times,
      setUp: async (rpc) => {
        used = state.prepared.acme?.settings ?? settings;
        this.#report = await rpc.call("start", used, state.config.log.level);
      },
      begin: async (rpc) => {
        const now = state.prepared.acme?.settings ?? settings;
        if (now !== used) await rpc.call("reload", now); // a reload came between
        rpc.notify("want", this.#begun ? this.#choice.wanted : this.#first);
        void state.configurePlanes();
      },
      down: () => {
        this.#challenges.clear(); // what they were for has ended with it
        void this.#tellPlanes();
      },
    }, state.log);
  }

  /** Those that it has, without those that files have certificates for. */
  certificates(): CertificateMaterial[] {
    const isInFiles = servedBy(this.#fileNames());
    return this.#report.certificates.filter(({ names }) => !names.every(isInFiles));
  }

  /** How it stands with each name, and how many orders there were. */
  get report(): AcmeState {
    return this.#report;
  }

  /** What data planes are to do for it. */
  forPlanes(): PlaneAcme {
    const states = new Map(this.#report.names.map(({ name, state }) => [name, state]));
    const awaited = this.#choice.wanted.flatMap(({ name }) =>
      (states.get(name) ?? "pending") === "pending" ? [name] : []
    );
    return { awaited, challenges: Object.fromEntries(this.#challenges) };
  }

  /**
   * Asks for the certificates of `names` before anybody listens, as far as that is possible, which is by DNS. Resolves when
   * they are there, have failed, or take too long.
   */
  async ahead(names: readonly string[]): Promise<void> {
    this.#choose();
    const first = this.#choice.wanted.filter(({ name, challenge }) =>
      challenge === "dns-01" && names.some((one) => isServedBy(one, [name]))
    );
    const isOver = () => {
      const awaited = this.forPlanes().awaited;
      return !first.some(({ name }) => awaited.includes(name));
    };
    if (isOver()) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#onReport = () => isOver() && resolve();
    this.#first = first;
    this.worker.rpc?.notify("want", first);
    if (!await within(AHEAD_MS, promise)) {
      this.#state.log.warn("acme_late", { names: first.map(({ name }) => name).join(" ") });
    }
    this.#onReport = () => {};
  }

  /** Data planes listen: certificates are asked for from now on. */
  begin(): void {
    this.#choose();
    this.#begun = true;
    this.worker.rpc?.notify("want", this.#choice.wanted);
    this.#lookingAgain = setInterval(() => this.refresh(), LOOK_AGAIN_MS);
    void this.#tellPlanes();
  }

  /** Routes, certificates of files or challenges may have changed. */
  refresh(): void {
    if (this.#choose()) void this.#tellPlanes();
  }

  /** Somebody holds a name now. Resolves when data planes know that its certificate is on its way. */
  async claimed(name: string, { protocol, owner = "" }: LeaseValue): Promise<void> {
    if (canonicalName(name) !== name) return; // a key of another kind: nobody can ask for it by TLS
    if (protocol === "tls") return this.ended(name); // the service shows a certificate of its own
    const known = this.#tunnels.get(name);
    if (known?.isAdmitted && known.owner === String(owner)) return await (this.#nextTelling ?? this.#telling);
    if (known === undefined && this.#isServed(name)) { // as with a wildcard, however many tunnels there are: nothing changes
      this.#tunnels.set(name, { owner: String(owner), isAdmitted: true });
      return await (this.#nextTelling ?? this.#telling);
    }
    this.#tunnels.set(name, { owner: String(owner), isAdmitted: known?.isAdmitted ?? false });
    if (this.#choose()) await this.#tellPlanes();
  }

  /** Nobody holds a name any more: its certificate is not renewed. */
  ended(name: string): void {
    if (!this.#tunnels.delete(name)) return;
    // One that another certificate serves, or that waits for its owner's turn, changes nothing by its end.
    if (this.#choice.wanted.some((wanted) => wanted.name === name)) this.refresh();
  }

  /** Ends what is the supervisor's own; the worker is ended by whoever ends all workers. */
  stop(): void {
    clearInterval(this.#lookingAgain);
  }

  #methods(): AcmeQuestions {
    return {
      acmePresent: async (token: string, keyAuthorization: string) => {
        this.#challenges.set(token, keyAuthorization);
        await this.#tellPlanes();
      },
      acmeWithdraw: (token: string) => {
        this.#challenges.delete(token);
        void this.#tellPlanes();
      },
      acmeChanged: ({ certificates, ...report }: AcmeChange) => {
        const before = this.#report.certificates;
        this.#report = { ...report, certificates: certificates ?? before };
        this.#onReport();
        const isSame = certificates === undefined || sameCertificates(before, certificates);
        void (isSame ? this.#tellPlanes() : this.#state.configurePlanes());
      },
    };
  }

  /** Decides what to ask for. @returns Whether that has changed. */
  #choose(): boolean {
    const routes = this.#state.plugins.flatMap(({ traits }) => traits.terminates ?? []);
    const files = this.#fileNames();
    const challenges = this.#state.config.tls.acme?.challenges ?? [];
    const ofRoutes = chooseNames({ routes, tunnels: [], files, challenges });
    const isServed = servedBy([...files, ...namesOf(ofRoutes)]);
    const valid = new Set(
      this.#report.names.filter(({ state }) => state === "valid").map(({ name }) => name),
    );
    const isFree = (name: string) => valid.has(name) || isServed(name);
    const tunnels = [...this.#tunnels].filter(([name, tunnel]) => this.#admits(name, tunnel, isFree))
      .map(([name]) => name);
    const choice = chooseNames({ routes, tunnels, files, challenges });
    for (const { name, reason } of choice.left) {
      if (this.#tunnels.has(name)) this.#warn(name, reason);
    }
    const isSame = sameNames(choice, this.#choice);
    this.#choice = choice;
    this.#isServed = servedBy([...files, ...namesOf(choice)]);
    if (!isSame && this.#begun) this.worker.rpc?.notify("want", choice.wanted);
    return !isSame;
  }

  /** @param isFree Whether a name needs no certificate that is not there yet. */
  #admits(name: string, tunnel: TunnelName, isFree: (name: string) => boolean): boolean {
    if (tunnel.isAdmitted) return true;
    if (!isFree(name) && !this.#budgetOf(tunnel.owner).take(Date.now())) {
      this.#warn(
        name,
        `Its owner is the reason for ${NAMES_OF_OWNER_PER_HOUR} certificates in an hour already`,
      );
      return false;
    }
    tunnel.isAdmitted = true;
    return true;
  }

  #budgetOf(owner: string): HourlyBudget {
    const known = this.#owners.get(owner);
    if (known !== undefined) return known;
    const fresh = new HourlyBudget(NAMES_OF_OWNER_PER_HOUR);
    this.#owners.set(owner, fresh);
    return fresh;
  }

  #warn(name: string, reason: string): void {
    if (this.#warned.may(name)) this.#state.log.warn("acme_name_left", { name, reason });
  }

  #fileNames(): string[] {
    return this.#state.certificates.flatMap(({ names }) => names);
  }

  /**
   * Tells every data plane what there is to do, and resolves when they know. However many ask for that while they are being
   * told, they are told once more.
   */
  #tellPlanes(): Promise<void> {
    this.#nextTelling ??= this.#telling.then(async () => {
      this.#nextTelling = undefined;
      const told = this.forPlanes();
      const telling = Promise.all(
        this.#state.planes.map(({ rpc }) => rpc && within(TELL_MS, rpc.call("useAcme", told))),
      ).then(() => {});
      this.#telling = telling;
      await telling;
    });
    return this.#nextTelling;
  }
}

function namesOf({ wanted }: Choice): string[] {
  return wanted.map(({ name }) => name);
}

function sameNames(a: Choice, b: Choice): boolean {
  const text = ({ wanted }: Choice) => wanted.map(({ name, challenge }) => `${name} ${challenge}`).join();
  return text(a) === text(b);
}

function sameCertificates(a: readonly CertificateMaterial[], b: readonly CertificateMaterial[]): boolean {
  const text = (all: readonly CertificateMaterial[]) => all.map(({ fingerprint }) => fingerprint).join();
  return text(a) === text(b);
}
