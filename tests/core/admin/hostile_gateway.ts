import type { AdminMethods, RecentEvent } from "../../../core/data_plane/snapshot.ts";
import { LIVE, STATUS } from "./harness.ts";

/** Text that would be markup, script, an attribute's end, or an address to follow, if a page let it. */
export const HOSTILE =
  `<img src=x onerror="window.hacked=1">"'><b>\u202e\u001b[2J\u0000</script><script>window.hacked=1</script>`;

/** A gateway in which every text is hostile that a stranger or a plugin may have had a hand in. */
export function hostileGateway(): Partial<AdminMethods> {
  const event = (sequence: number): RecentEvent => ({
    sequence,
    count: 3,
    time: Date.now(),
    level: "warn",
    from: HOSTILE,
    event: HOSTILE,
    fields: { [HOSTILE]: HOSTILE, source: HOSTILE, password: "planted-secret" },
  });
  const counts = { bytesIn: 1, bytesOut: 2, since: Date.now() };
  return {
    status: () =>
      Promise.resolve({
        ...STATUS,
        reloadError: HOSTILE,
        rejected: { [HOSTILE]: 3 },
        listeners: [{ address: HOSTILE, kind: "http" }],
        plugins: [{
          name: HOSTILE,
          isolation: "worker",
          module: HOSTILE,
          permissions: { [HOSTILE]: [HOSTILE], run: [HOSTILE] },
          state: "up",
          restarts: 1,
          status: {
            ready: false,
            reason: HOSTILE,
            details: {
              [HOSTILE]: HOSTILE,
              list: [HOSTILE],
              object: { [HOSTILE]: HOSTILE, password: "planted-secret" },
              processes: [{ [HOSTILE]: HOSTILE, nested: { [HOSTILE]: [HOSTILE] } }],
            },
          },
        }],
        certificates: [{
          names: [HOSTILE],
          source: "acme",
          notAfter: HOSTILE,
          state: "failed",
          error: HOSTILE,
          nextAttempt: HOSTILE,
        }],
      }),
    tunnels: () =>
      Promise.resolve([{
        ...counts,
        id: HOSTILE,
        plugin: HOSTILE,
        agent: HOSTILE,
        owner: HOSTILE,
        source: { address: HOSTILE, port: 1 },
        streams: 1,
        services: [
          { id: "1", name: HOSTILE, protocol: HOSTILE, url: "javascript:window.hacked=1", target: HOSTILE },
          { id: "2", name: HOSTILE, protocol: HOSTILE, url: HOSTILE },
          { id: "3", name: "x".repeat(500), protocol: "http", url: `https://a.example/${HOSTILE}` },
        ],
      }]),
    connections: () =>
      Promise.resolve([{
        ...counts,
        id: HOSTILE,
        listener: HOSTILE,
        source: HOSTILE,
        protocol: HOSTILE,
        sni: HOSTILE,
        plugin: HOSTILE,
        target: HOSTILE,
        state: HOSTILE,
      }]),
    live: (after) =>
      Promise.resolve({
        sample: { ...LIVE.sample, time: Date.now(), rejected: { [HOSTILE]: after + 3 } },
        events: [event(after + 1)],
        sequence: after + 1,
      }),
  };
}
