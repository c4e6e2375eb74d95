import { isDeepStrictEqual } from "node:util";
import type { AdminWorkerMethods } from "../admin/contract.ts";
import type { GatewayConfig } from "../config/config.ts";
import type { PlaneMethods } from "../data_plane/methods.ts";
import { messageOf } from "../errors.ts";
import type { Rpc } from "../rpc.ts";
import { type CertificateMaterial, loadCertificates } from "../tls/certificates.ts";
import type { ManagedWorker } from "./managed_worker.ts";
import { MutualTlsProof } from "./mutual_tls.ts";
import { forPlane } from "./plugins.ts";
import { planReload } from "./reload.ts";
import type { GatewayState, PluginUnit, Prepared } from "./state.ts";

/** What a reload swaps in one step. */
interface Swapped {
  readonly prepared: Prepared;
  readonly certificates: readonly CertificateMaterial[];
}

/** What a part of the gateway has against a change. */
interface Objection {
  readonly reason: unknown;
  /** Whose it is, when it is an isolated plugin's. */
  readonly plugin?: Pick<PluginUnit["worker"], "restart"> | undefined;
}

/** Gives the parts of a running gateway another config, and other certificates: one change at a time. */
export class Reloading {
  readonly #state: GatewayState;
  readonly #proof: MutualTlsProof;
  readonly #admin: ManagedWorker<AdminWorkerMethods>;
  /** Settles when the last change that was asked for is over. */
  #turn: Promise<unknown> = Promise.resolve();
  /** Why certificates that changed by themselves were refused. */
  #certificateError: string | undefined;
  /** Why the last change was refused, if it was. */
  error: string | undefined;

  constructor(state: GatewayState, proof: MutualTlsProof, admin: ManagedWorker<AdminWorkerMethods>) {
    this.#state = state;
    this.#proof = proof;
    this.#admin = admin;
  }

  /** See `Supervisor.reload`. */
  reload(next: Prepared): Promise<readonly string[]> {
    return this.#inTurn(async () => {
      const { log } = this.#state;
      const certificates = await loadCertificates(next.config.tls.certificates, log);
      const { prepared, needRestart } = planReload(this.#state.prepared, next);
      await this.#swap({ prepared, certificates });
      this.error = this.#certificateError = undefined;
      this.#state.tellMissingCertificates();
      log.info("reloaded", { needRestart: needRestart.join("; ") || undefined });
      return needRestart;
    });
  }

  /** See `Supervisor.reloadCertificates`. */
  reloadCertificates(): Promise<void> {
    const state = this.#state;
    return this.#inTurn(async () => {
      try {
        state.certificates = await loadCertificates(state.config.tls.certificates, state.log);
        state.acme?.refresh();
        await Promise.all(state.planes.map(({ rpc }) => rpc?.call("configure", state.settings())));
        if (this.error === this.#certificateError) this.error = undefined;
        this.#certificateError = undefined;
        state.tellMissingCertificates();
        state.log.info("certificates_reloaded", { count: state.certificates.length });
      } catch (error) {
        this.error = this.#certificateError = messageOf(error);
        state.log.error("certificates_refused", { reason: this.error });
      }
    });
  }

  /** Runs the work once all that was asked for before is over. */
  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const turn = this.#turn.then(work);
    this.#turn = turn.catch(() => {}); // told to whoever asked
    return turn;
  }

  /**
   * All or nothing: rejects with the first fault, when every part has the old again. A plugin that does not take it
   * back would go on with what was refused: it is started anew, and lets nobody in until then.
   */
  async #swap(next: Swapped): Promise<void> {
    if (!MutualTlsProof.concerns(next.prepared.plugins)) return await this.#swapOrUndo(next);
    // Nobody may get in by a config that has yet to prove that it lets in nobody else.
    const planes = this.#state.planes.flatMap(({ rpc }) => rpc ?? []);
    await Promise.allSettled(planes.map((plane) => plane.call("holdDecisions")));
    try {
      await this.#swapOrUndo(next);
    } finally {
      for (const plane of planes) plane.notify("releaseDecisions");
    }
  }

  async #swapOrUndo(next: Swapped): Promise<void> {
    const { prepared, certificates, log } = this.#state;
    const fault = await this.#faultOf(next);
    if (fault === undefined) return;
    const undone = [...await this.#use({ prepared, certificates }), ...await this.#tellAdmin()];
    for (const { reason, plugin } of undone) {
      log.error("reload_undo_failed", { reason: messageOf(reason) });
      plugin?.restart("It did not take its old config back");
    }
    throw fault;
  }

  /** What speaks against it, once all have it. */
  async #faultOf(next: Swapped): Promise<unknown> {
    const [objection] = await this.#use(next);
    const fault = objection ? objection.reason : await this.#unproven();
    // The last: another token ends every session, which nobody can undo.
    return fault ?? (await this.#tellAdmin())[0]?.reason;
  }

  /** Why a data plane cannot prove any more that client certificates are required, if one cannot. */
  async #unproven(): Promise<unknown> {
    const strictly = { lenient: false };
    const proofs = await Promise.allSettled(
      this.#state.planes.map(({ rpc }) => rpc && this.#proof.of(rpc, strictly)),
    );
    return proofs.find((proof) => proof.status === "rejected")?.reason;
  }

  /** Tells every part that is up, but for the admin side. Resolves when all have answered, to what went wrong. */
  async #use({ prepared, certificates }: Swapped): Promise<Objection[]> {
    const state = this.#state;
    const { acme } = prepared;
    const asksAnew = acme && !isDeepStrictEqual(acme.settings, state.prepared.acme?.settings);
    state.prepared = prepared;
    state.certificates = certificates;
    state.acme?.refresh();
    const told = [
      ...state.planes.map(({ rpc }) => objectionOf(rpc && this.#tellPlane(rpc))),
      ...prepared.plugins.map(({ name, config, files }) => {
        const plugin = state.pluginUnits.get(name)?.worker;
        return objectionOf(plugin?.rpc?.call("reload", config, files), plugin);
      }),
      objectionOf(
        asksAnew ? state.acme?.worker.rpc?.call("reload", acme.settings) : undefined,
        state.acme?.worker,
      ),
    ];
    return (await Promise.all(told)).flatMap((objection) => objection ?? []);
  }

  /** As {@link #use}, of the admin side: what it takes a reload for is its token. */
  async #tellAdmin(): Promise<Objection[]> {
    const objection = await objectionOf(this.#admin.rpc?.call("reload", adminToken(this.#state.config)));
    return objection ? [objection] : [];
  }

  async #tellPlane(plane: Rpc<PlaneMethods>): Promise<void> {
    await plane.call("usePlugins", this.#state.plugins.map(forPlane), []);
    await plane.call("configure", this.#state.settings());
  }
}

async function objectionOf(
  answer: Promise<unknown> | undefined,
  plugin?: Objection["plugin"],
): Promise<Objection | undefined> {
  try {
    await answer;
    return undefined;
  } catch (reason) {
    return { reason, plugin };
  }
}

/** What the admin side asks for. */
export function adminToken({ admin: { token } }: GatewayConfig): { token?: string } {
  return token === undefined ? {} : { token };
}
