import { NO_PERMISSIONS, type WorkerPermissions } from "../core/config/permissions.ts";
import { formatHostPort } from "../core/net/address.ts";
import { firstHop } from "../plugins/ws-agent/agent/gateway_address.ts";
import {
  type AgentService,
  type AgentSettings,
  registrationKey,
} from "../plugins/ws-agent/agent/settings.ts";
import { datagramPermissions, targetPermissions } from "../plugins/ws-agent/agent/target.ts";

/** What one worker of an agent may connect to, and what it serves. */
export interface UnitPlan {
  /** 0 for the first; no two have the same. Says apart what they are to the gateway. */
  readonly index: number;
  /** `net` of Deno's permissions. What a worker has was given at its start, and never grows. */
  readonly net: readonly string[];
  readonly services: readonly AgentService[];
}

/** The gateway or the proxy on the way to it, and the targets of these services: all that a worker for them may connect to. */
export function netOf(
  hop: Pick<AgentSettings, "gateway" | "proxy">,
  services: readonly AgentService[],
): string[] {
  const toGateway = formatHostPort(firstHop(hop));
  return [...new Set([toGateway, ...services.flatMap(permissionsOf)])].toSorted();
}

function permissionsOf({ protocol, target, addresses }: AgentService): string[] {
  return protocol === "udp" ? datagramPermissions(target, addresses) : targetPermissions(target);
}

/** The permissions of a worker that may connect to these and do nothing else. */
export function unitPermissions(net: readonly string[]): WorkerPermissions {
  return { ...NO_PERMISSIONS, net: [...net] };
}

/** What a unit is called to the gateway: two that are connected at the same time must not take each other's place. */
export function unitName(name: string, index: number): string {
  return index === 0 ? name : `${name}#${index}`;
}

/**
 * Deals out services to workers: what is served stays where it is, as long as that worker may connect to where it leads; what no worker
 * may connect to gets one of its own. So a reload that adds a target ends no connection of those that stay.
 *
 * @param present Those that run now.
 * @returns What each is to serve. Those of `present` that are missing have nothing left to do.
 */
export function dealOut(present: readonly UnitPlan[], settings: AgentSettings): UnitPlan[] {
  const left = new Set(settings.services);
  const able = present.filter(({ net }) => covers(net, netOf(settings, [])));
  const dealt = able.map((unit) => {
    const held = new Set(unit.services.map(registrationKey));
    return {
      unit,
      services: take(left, (service) => held.has(registrationKey(service)) && fits(unit, service)),
    };
  });
  for (const { unit, services } of dealt) services.push(...take(left, (service) => fits(unit, service)));
  const plans: UnitPlan[] = dealt.filter(({ services }) => services.length > 0)
    .map(({ unit: { index, net }, services }) => ({ index, net, services }));
  if (left.size > 0) {
    const services = [...left];
    plans.push({ index: freeIndex(present), net: netOf(settings, services), services });
  }
  return plans;

  function fits({ net }: UnitPlan, service: AgentService): boolean {
    return covers(net, permissionsOf(service));
  }
}

function take(from: Set<AgentService>, wanted: (service: AgentService) => boolean): AgentService[] {
  const taken = [...from].filter(wanted);
  for (const service of taken) from.delete(service);
  return taken;
}

function covers(net: readonly string[], needed: readonly string[]): boolean {
  return needed.every((one) => net.includes(one));
}

function freeIndex(present: readonly UnitPlan[]): number {
  for (let index = 0;; index++) if (!present.some((unit) => unit.index === index)) return index;
}
