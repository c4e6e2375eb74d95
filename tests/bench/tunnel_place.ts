import { type Address, freeAddress, hostPort } from "../support/processes.ts";
import { Helper } from "./helper.ts";

/** Where gateway and agent are to each other. */
export interface Place {
  /**
   * Where an agent finds the gateway that listens at `gateway`. May be asked before it listens.
   *
   * @param samePort For an agent that can't be told the port: the address is another one then. @default false
   */
  reach(gateway: Address, samePort?: boolean): Promise<Address>;
}

/** One way. */
const DELAY = "15ms";
const START_DEADLINE_MS = 10_000;

/** As close as two processes are. */
export function nearBy(): Place {
  return { reach: (gateway) => Promise.resolve(gateway) };
}

/**
 * 15 ms from each other, each way, by a relay in between: not by netem, which needs root and a kernel that has it. TCP
 * itself is thus acknowledged near by, and what is seen is what the tunnel's own protocol makes of the distance.
 *
 * @param stack Ends the relays.
 */
export function farAway(stack: AsyncDisposableStack, program: string): Place {
  return {
    async reach(gateway, samePort = false) {
      const relay = samePort ? { hostname: ownLoopback(), port: gateway.port } : freeAddress();
      const helper = stack.use(new Helper(program, ["delay", hostPort(relay), hostPort(gateway), DELAY]));
      await helper.receive(START_DEADLINE_MS);
      return relay;
    },
  };
}

/** A loopback address that nobody else uses, as good as surely. */
export function ownLoopback(): string {
  const [a = 1, b = 1] = crypto.getRandomValues(new Uint8Array(2));
  return `127.${1 + a % 250}.${b}.1`;
}
