import type { LocalRegistry } from "../../../core/registry/local.ts";
import type { NodeId } from "../../../core/registry/registry.ts";
import { RegistryReplica } from "../../../core/registry/replica.ts";
import { until } from "../../support/until.ts";

/** What is on its way, in all views. */
let underWay = 0;

/** Resolves when all that was said has come to where it goes. */
export async function nothingLags(): Promise<void> {
  await until(() => underWay === 0, { what: "all messages to arrive" });
}

/**
 * The registry as a data plane of another thread sees it: questions, answers and events take their time, in order, and
 * what is looked up is behind by as much.
 *
 * @param random From 0 to 1; makes up the delays, of some milliseconds at most.
 */
export function laggingView(registry: LocalRegistry, node: NodeId, random: () => number): RegistryReplica {
  const up = lane(random), down = lane(random);
  const ask = <T>(question: () => T): Promise<T> =>
    new Promise((resolve) =>
      up(() => {
        const answer = question();
        down(() => resolve(answer));
      })
    );
  const replica = new RegistryReplica(node, {
    open: (session) => ask(() => registry.open(session)),
    claim: (...claim) => ask(() => registry.claim(...claim)),
    release: (id, key) => ask(() => registry.release(id, key)),
    close: (id, graceMs) => ask(() => registry.close(id, graceMs)),
  });
  registry.listen((event) => down(() => replica.apply([event])));
  return replica;
}

/** Runs what it is given later, and one behind the other. */
function lane(random: () => number): (task: () => void) => void {
  let last = Promise.resolve();
  return (task) => {
    const wait = random() < 0.5 ? 0 : random() * 4;
    underWay++;
    last = last.then(() => new Promise((resolve) => setTimeout(resolve, wait))).then(task).finally(() =>
      underWay--
    );
  };
}
