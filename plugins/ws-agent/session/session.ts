import {
  type ByteStream,
  type Endpoint,
  type SessionInfo,
  type TunnelRow,
} from "../../../core/plugin/mod.ts";
import { printable } from "../auth/printable.ts";
import type { Grant } from "../auth/grant.ts";
import type { Uuid } from "../control/messages.ts";
import type { AgentLink, Opening } from "./agent_link.ts";
import type { AgentVoice } from "./agent_speech.ts";
import type { EndReason } from "./end_reason.ts";
import type { Service } from "./service.ts";

/** What a session is made of. */
export interface SessionParts {
  /** As the registry knows it. */
  readonly info: SessionInfo;
  readonly grant: Grant;
  readonly source: Endpoint;
  /** Where it has connected to. */
  readonly destination: Endpoint;
  /** The public port of https, as the agent itself has reached it. */
  readonly httpsPort: number;
  readonly link: AgentLink;
  readonly voice: AgentVoice;
  /** Milliseconds since 1970. */
  readonly since: number;
  /** `monotonic` time of now. */
  readonly now: number;
}

/** Names are cut where they are shown: a table has room for no more. */
const MAX_SHOWN = 100;

/** One connection of an agent that has proved itself: what it serves, and how it is. Plain state; others act on it. */
export class TunnelSession {
  readonly id: Uuid;
  readonly info: SessionInfo;
  readonly grant: Grant;
  readonly source: Endpoint;
  readonly destination: Endpoint;
  readonly httpsPort: number;
  readonly since: number;
  readonly link: AgentLink;
  readonly voice: AgentVoice;
  /** By the service's name. */
  readonly #services = new Map<string, Service>();
  /** `monotonic` time of when it began to be without streams, or may have. */
  idleSince: number;
  /** `monotonic` time of the next heartbeat. */
  nextHeartbeatAt = 0;
  /** The round trip of the last heartbeat that was answered. */
  #roundTripMs: number | undefined;
  /** The heartbeat that is to be answered: its time as sent, and when that was. */
  #heartbeat: { readonly time: number; readonly at: number } | undefined;
  /** Takes no new streams: the gateway is about to end, or the agent. */
  leaving = false;
  /** Whether the registry has let it in. */
  opened = false;
  ended: EndReason | undefined;

  constructor({ info, grant, source, destination, httpsPort, link, voice, since, now }: SessionParts) {
    this.id = info.id;
    this.info = info;
    this.grant = grant;
    this.source = source;
    this.destination = destination;
    this.httpsPort = httpsPort;
    this.link = link;
    this.voice = voice;
    this.since = since;
    this.idleSince = now;
  }

  /** Streams of connections, to its services or of its accesses: the one for control is none. */
  get streams(): number {
    return Math.max(0, this.link.streams - 1);
  }

  /** Those of {@link streams} that bring somebody to a service of this agent; an accessor opens others. */
  get served(): number {
    return this.link.streams - this.link.streamsOfPeer;
  }

  get services(): ReadonlyMap<string, Service> {
    return this.#services;
  }

  serviceById(id: Uuid): Service | undefined {
    for (const service of this.#services.values()) if (service.id === id) return service;
    return undefined;
  }

  add(service: Service): void {
    this.#services.set(service.asked.name, service);
  }

  remove({ asked }: Service): boolean {
    return this.#services.delete(asked.name);
  }

  /** Whether a new stream makes sense at all; how many there may be is for others to say. */
  get takesStreams(): boolean {
    return this.ended === undefined && !this.leaving && !this.link.peerGoesAway;
  }

  /** See {@link AgentLink.open}. @param now `monotonic` time. */
  openStream(opening: Opening, now: number): ByteStream | Promise<ByteStream> {
    this.idleSince = now;
    return this.link.open(opening);
  }

  sendHeartbeat(time: number, now: number): void {
    this.#heartbeat = { time, at: now };
    this.voice.heartbeat(time);
  }

  /**
   * An agent that answers with another time than it was asked with has no round trip.
   *
   * @param time Absent: answers of its kind do not say what they answer.
   */
  heartbeatAcked(time: number | undefined, now: number): void {
    if (this.#heartbeat === undefined || (time !== undefined && this.#heartbeat.time !== time)) return;
    this.#roundTripMs = now - this.#heartbeat.at;
    this.#heartbeat = undefined;
  }

  row(): TunnelRow {
    const { id, grant, source, since, streams, link, voice } = this;
    const roundTripMs = this.#roundTripMs ?? link.roundTripMs;
    return {
      id,
      agent: voice.kind,
      owner: printable(grant.owner, MAX_SHOWN),
      source,
      since,
      ...(roundTripMs !== undefined && { roundTripMs: Math.round(roundTripMs * 10) / 10 }),
      streams,
      bytesIn: link.bytesWritten, // to the service, as for any other connection
      bytesOut: link.bytesRead,
      services: [...this.#services.values()].map(({ id, asked, protocol, url, target }) => ({
        id,
        name: asked.name,
        protocol,
        url,
        ...(target !== undefined && { target }),
      })),
    };
  }
}
