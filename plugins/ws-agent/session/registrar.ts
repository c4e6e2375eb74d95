import { LogOnce } from "../../../core/data_plane/log_once.ts";
import {
  GatewayError,
  type Lease,
  type LeaseValue,
  type Log,
  messageOf,
  type Registry,
  type SessionId,
} from "../../../core/plugin/mod.ts";
import { printable } from "../auth/printable.ts";
import type { RequestedService } from "../auth/grant.ts";
import type { WsAgentConfig } from "../config.ts";
import type { Balance, RegisterService, Uuid } from "../control/messages.ts";
import type { Counters, RegistrationRefusal } from "../counters.ts";
import { isServiceName, type LeaseKey, nameKey, portKey, publicNameOf, udpKey } from "../names.ts";
import { formatPrivateService, isShared, ownerOf, parsePrivateService, privateKey } from "../private_name.ts";
import { isIn, portsToTry } from "./port_choice.ts";
import type { Service } from "./service.ts";
import type { TunnelSession } from "./session.ts";
import type { Sessions } from "./sessions.ts";
import { sharedOf, shareOf } from "./sharing.ts";
import { socketOf } from "../udp/socket_holder.ts";

/** Why a service is not public now: a word for metric and log, and a text for the agent. */
export interface RegistrationFailure {
  readonly refused: RegistrationRefusal;
  readonly message: string;
}

export type Registered = { readonly service: Service } | RegistrationFailure;

/** What registering takes from outside. */
export interface RegistrarTools {
  readonly config: () => WsAgentConfig;
  readonly sessions: Sessions;
  readonly registry: Pick<Registry, "claim" | "release" | "lookup" | "leasesOf">;
  readonly counters: Counters;
  readonly log: Log;
  readonly newId: () => Uuid;
  /** Opens the public port, for a session that has claimed it. Throws, or rejects with, a {@link GatewayError} when that cannot be done. */
  listen(port: number, protocol: PortProtocol, session: SessionId): void | Promise<void>;
  /** A service is served from here now: whoever waits for it may go on. */
  served(key: LeaseKey): void;
}

/** What is to be public: as an agent asks for it, and what its kind goes without saying. */
export interface Registration extends RegisterService {
  /** Of `tls`: the gateway terminates it, and the agent gets the bytes in it. @default false */
  readonly terminated?: boolean;
}

/** How many ports that seem free are tried for one that is assigned: each may cost a look at a controller and a socket. */
const MAX_PORT_TRIES = 64;

/** Services of these are public by a port of their own. */
type PortProtocol = "tcp" | "udp";
type PortRequest = RegisterService & { readonly protocol: PortProtocol };

/** A service that is to be public by a name. */
interface NamedRequest extends RequestedService {
  readonly protocol: "http" | "tls";
  readonly hostname: string;
}

/** Makes services public, one at a time for each session, and takes them back. */
export class Registrar {
  readonly #tools: RegistrarTools;
  readonly #failures = new LogOnce();

  constructor(tools: RegistrarTools) {
    this.#tools = tools;
  }

  /** Never rejects. */
  async register(session: TunnelSession, request: Registration): Promise<Registered> {
    const result = await this.#attempt(session, request).catch((error): Registered => {
      this.#tools.log.error("registration_failed", { tunnel: session.id, reason: messageOf(error) });
      return { refused: "internal_error", message: "The gateway cannot register services at the moment" };
    });
    const { counters, log } = this.#tools;
    if ("service" in result) {
      const { id, protocol, url, asked } = result.service;
      log.info("service_registered", {
        tunnel: session.id,
        owner: printable(session.grant.owner, 100),
        service: id,
        name: asked.name,
        protocol,
        url,
      });
    } else if (session.ended === undefined) {
      counters.registrationRefused(result.refused);
      log.info("registration_refused", {
        tunnel: session.id,
        owner: printable(session.grant.owner, 100),
        name: printable(request.name, 100),
        protocol: request.protocol,
        reason: result.refused,
        detail: printable(result.message, 200),
      });
    }
    return result;
  }

  /** Takes a service back; the name or port is free at once. @returns Whether there was one. */
  async unregister(session: TunnelSession, id: Uuid): Promise<boolean> {
    const service = session.serviceById(id);
    if (service === undefined) return false;
    const { sessions, registry, log } = this.#tools;
    sessions.removeService(session, service);
    await registry.release(session.id, service.key);
    log.info("service_unregistered", { tunnel: session.id, service: id, name: service.asked.name });
    return true;
  }

  async #attempt(session: TunnelSession, request: Registration): Promise<Registered> {
    const { limits } = this.#tools.config();
    const { name, protocol } = request;
    if (!isServiceName(name)) {
      return refusal(
        "bad_name",
        "A service's name has 1 to 63 letters, digits, dots, hyphens and underscores",
      );
    }
    if (session.services.has(name)) {
      return refusal("duplicate", `The service "${name}" is registered already`);
    }
    if (session.services.size >= limits.servicesPerTunnel) {
      return refusal(
        "limit",
        `A tunnel may have ${limits.servicesPerTunnel} services (limits.servicesPerTunnel)`,
      );
    }
    if (request.private === true) return await this.#registerPrivate(session, request);
    if (request.shared && isShared(session.grant.principal)) {
      return refusal("not_allowed", "A JWT without sub is anybody's, and shares nothing");
    }
    if (request.shared && (protocol === "tcp" || protocol === "udp") && !request.remotePort) {
      return refusal("bad_port", "Agents that share a port have to ask for the same one (remotePort)");
    }
    switch (protocol) {
      case "tcp":
      case "udp":
        return await this.#registerPort(session, { ...request, protocol });
      case "http":
      case "tls":
        return await this.#registerName(session, { ...request, protocol });
    }
  }

  /** It gets a lease and nothing else: no name, no port, so that nothing but an access leads to it. */
  async #registerPrivate(
    session: TunnelSession,
    { name, protocol, hostname, remotePort = 0, target, shared }: RegisterService,
  ): Promise<Registered> {
    if (shared) return refusal("not_supported", "A private service is of one agent");
    if (protocol === "udp") return refusal("not_supported", "A private service is http, tcp or tls");
    if (hostname !== undefined || remotePort !== 0) {
      return refusal("not_supported", "A private service has neither a host name nor a port");
    }
    const { principal } = session.grant;
    if (isShared(principal)) return refusal("not_allowed", "A JWT without sub can have no private service");
    const place = parsePrivateService(name, ownerOf(principal));
    if (place === undefined) {
      return refusal("bad_name", "Its name and that of its owner are too long for a private service");
    }
    const asked: RequestedService = { name, protocol, private: true };
    const denied = await this.#denial(session, asked);
    if (denied !== undefined) return denied;
    const service: Service = {
      id: this.#tools.newId(),
      key: privateKey(place),
      protocol,
      asked,
      url: `private:${formatPrivateService(place)}`,
      ...targetOf(target),
    };
    return await this.#claim(session, service, undefined) ??
      refusal("held", `Another agent of yours has the private service "${name}"`);
  }

  async #registerName(
    session: TunnelSession,
    request: Registration & Pick<NamedRequest, "protocol">,
  ): Promise<Registered> {
    const { name, protocol, hostname, target, terminated } = request;
    const config = this.#tools.config();
    const publicName = publicNameOf({ name, hostname }, config);
    if ("refused" in publicName) return publicName;
    const asked: NamedRequest = { name, protocol, ...publicName, ...sharedOf(request) };
    const denied = await this.#denial(session, asked);
    if (denied !== undefined) return denied;
    const port = config.publicPort ?? session.httpsPort;
    const service: Service = {
      id: this.#tools.newId(),
      key: nameKey(asked.hostname),
      protocol: protocol === "tls" && terminated ? "tcp-tls" : protocol,
      asked,
      hostAsked: hostname,
      url: protocol === "http"
        ? `https://${asked.hostname}${port === 443 ? "" : `:${port}`}`
        : `tls://${asked.hostname}:${port}`,
      ...targetOf(target),
    };
    return await this.#claim(session, service, request.balance) ??
      refusal("held", `"${asked.hostname}" is held by another agent`);
  }

  async #registerPort(session: TunnelSession, request: PortRequest): Promise<Registered> {
    const { name, protocol, remotePort = 0 } = request;
    const { ports } = this.#tools.config();
    if (remotePort === 0) return await this.#assignPort(session, request);
    if (!isIn(remotePort, ports)) {
      return refusal(
        "bad_port",
        `Port ${remotePort} is not one of this gateway's, ${ports.first} to ${ports.last}`,
      );
    }
    const asked = { name, protocol, port: remotePort, ...sharedOf(request) } as const;
    const denied = await this.#denial(session, asked);
    if (denied !== undefined) return denied;
    const lease = this.#tools.registry.lookup(keyOf(protocol, remotePort));
    const isAnothers = lease !== undefined && lease.sessions.length > 0 && lease.value["name"] !== name;
    const result = isAnothers ? undefined : await this.#claimPort(session, request, remotePort);
    return result ?? refusal("held", `Port ${remotePort} is held by another service`);
  }

  /** The one that this holder had for the service before, or else a free one. */
  async #assignPort(session: TunnelSession, request: PortRequest): Promise<Registered> {
    const { info: { holder }, grant } = session;
    const { name, protocol } = request;
    const { ports } = this.#tools.config();
    if (grant.ports?.length === 0) return refusal("not_allowed", "This token may not have a port");
    const before = this.#tools.registry.leasesOf(holder)
      .filter(({ value }) => value["protocol"] === protocol && value["name"] === name)
      .reduce((last: Lease | undefined, one) => last && last.epoch > one.epoch ? last : one, undefined);
    const known = Number(before?.value["port"] ?? 0);
    const isGood = isIn(known, ports) && (grant.ports?.some((range) => isIn(known, range)) ?? true);
    const free = portsToTry(`${holder}/${name}`, ports, grant.ports);
    let tries = 0;
    for (const port of isGood ? [known, ...free] : free) {
      const lease = this.#tools.registry.lookup(keyOf(protocol, port));
      const isOurs = lease?.holder === holder && lease.value["name"] === name;
      if (lease !== undefined && !isOurs) continue;
      if (++tries > MAX_PORT_TRIES) break;
      const denied = await this.#denial(session, { name, protocol, port, ...sharedOf(request) });
      if (denied !== undefined) return denied;
      const result = await this.#claimPort(session, request, port);
      if (result !== undefined && !("refused" in result && result.refused === "port_in_use")) return result;
    }
    return refusal("no_free_port", `No port of ${ports.first} to ${ports.last} is free for this agent`);
  }

  /** @returns `undefined`: another agent holds it. */
  async #claimPort(
    session: TunnelSession,
    request: PortRequest,
    port: number,
  ): Promise<Registered | undefined> {
    const { name, protocol, target, balance } = request;
    const { config, newId } = this.#tools;
    const service: Service = {
      id: newId(),
      key: keyOf(protocol, port),
      protocol,
      asked: { name, protocol, port, ...sharedOf(request) },
      url: `${protocol}://${config().domain}:${port}`,
      port,
      ...targetOf(target),
    };
    return await this.#claim(session, service, balance);
  }

  /** @returns `undefined`: somebody else holds it. */
  async #claim(
    session: TunnelSession,
    service: Service,
    balance: Balance | undefined,
  ): Promise<Registered | undefined> {
    const { registry, sessions, listen, served } = this.#tools;
    const { key, protocol, port } = service;
    const taken = otherServiceAt(session, key);
    if (taken !== undefined) {
      return refusal("duplicate", `The service "${taken.asked.name}" of this agent is public there already`);
    }
    const maxKeysOfParty = session.grant.limits?.services;
    const share = shareOf(session, service.asked);
    const result = await registry.claim(session.id, key, {
      ...valueOf(session, service, balance),
      ...socketOf(registry.lookup(key)),
    }, {
      share,
      maxKeysOfParty,
    });
    if (result === "held") return undefined;
    if (result === "limit") {
      return refusal(
        "limit",
        `This token has ${maxKeysOfParty} services already (limits.services of the token)`,
      );
    }
    if (result === "gone" || session.ended !== undefined) {
      return refusal("internal_error", "The tunnel has ended");
    }
    if ((protocol === "tcp" || protocol === "udp") && port !== undefined) {
      try {
        const opening = listen(port, protocol, session.id);
        if (opening !== undefined) await opening;
      } catch (error) {
        await registry.release(session.id, key);
        return this.#listenFailure(port, error);
      }
      if (session.ended !== undefined) return refusal("internal_error", "The tunnel has ended");
    }
    sessions.addService(session, service);
    served(key);
    return { service };
  }

  /** What is the matter is for the operator to see, and not for the agent. */
  #listenFailure(port: number, error: unknown): RegistrationFailure {
    if (!(error instanceof GatewayError)) throw error;
    if (this.#failures.may(String(port))) {
      this.#tools.log.warn("tunnel_port_failed", { port, reason: messageOf(error) });
    }
    return refusal("port_in_use", `Port ${port} cannot be opened on the gateway`);
  }

  async #denial(session: TunnelSession, asked: RequestedService): Promise<RegistrationFailure | undefined> {
    const reason = await session.grant.allows(asked);
    if (session.ended !== undefined) return refusal("internal_error", "The tunnel has ended");
    return reason === undefined ? undefined : refusal("not_allowed", reason);
  }
}

function refusal(refused: RegistrationRefusal, message: string): RegistrationFailure {
  return { refused, message };
}

function keyOf(protocol: PortProtocol, port: number): LeaseKey {
  return protocol === "tcp" ? portKey(port) : udpKey(port);
}

function targetOf(target: string | undefined): Pick<Service, "target"> {
  return target === undefined ? {} : { target: printable(target, 255) };
}

function otherServiceAt(session: TunnelSession, key: LeaseKey): Service | undefined {
  return [...session.services.values()].find((service) => service.key === key);
}

function valueOf(
  { grant }: TunnelSession,
  { protocol, asked, port }: Service,
  balance: Balance | undefined,
): LeaseValue {
  return {
    protocol,
    name: asked.name,
    owner: printable(grant.owner, 100),
    ...(port !== undefined && { port }),
    ...(asked.shared && balance !== undefined && { balance }),
  };
}
