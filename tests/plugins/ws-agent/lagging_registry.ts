import type { LocalRegistry } from "../../../core/registry/local.ts";
import type { NodeId } from "../../../core/registry/registry.ts";
import { RegistryReplica } from "../../../core/registry/replica.ts";

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
    last = last.then(() => new Promise((resolve) => setTimeout(resolve, wait))).then(task);
  };
}
