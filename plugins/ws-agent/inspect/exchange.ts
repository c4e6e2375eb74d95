import type { AgentService } from "../agent/settings.ts";
import type { StreamHeader } from "../stream_header.ts";
import { CapturedBody } from "./captured_body.ts";

/** The fields of a head in order, each byte as one character, with the names as they were sent. */
export type HeaderList = readonly (readonly [name: string, value: string])[];

/** What is known of a request. */
export interface CapturedRequest {
  readonly method: string;
  /** As it was sent, with the query. */
  readonly target: string;
  readonly version: string;
  /** The lines of its fields: see {@link headersOf}. */
  fields: string;
  readonly body: CapturedBody;
  /** The protocol that it asks to change to. */
  readonly upgrade?: string;
  /** Whether all of it has gone by. */
  isComplete: boolean;
}

/** What is known of a response. */
export interface CapturedResponse {
  readonly version: string;
  readonly status: number;
  readonly reason: string;
  /** The lines of its fields: see {@link headersOf}. */
  fields: string;
  readonly body: CapturedBody;
}

/**
 * How far an exchange is. `upgraded`: the connection carries another protocol now, of which only bytes are counted. `broken`: it
 * ended before the response had, or there was something that is not understood.
 */
export type ExchangeState = "waiting" | "answering" | "done" | "upgraded" | "broken";

/** Where a request came from, and where it went. */
export interface Origin {
  readonly service: AgentService;
  readonly header: StreamHeader;
}

/** A request, and what came of it. Changes while it is going on; whoever shows it only reads it. */
export interface Exchange {
  /** From 1, in the order of their beginning. */
  readonly id: number;
  /** Milliseconds since 1970. */
  readonly time: number;
  readonly origin: Origin;
  /** The exchange of which this is a replay. */
  readonly replayOf?: number;
  readonly request: CapturedRequest;
  response?: CapturedResponse;
  state: ExchangeState;
  /** Why it is `broken`. */
  problem?: string;
  /** From the request's first byte to the head of the response, in milliseconds. */
  headMs?: number;
  /** From the request's first byte to the end, in milliseconds. */
  totalMs?: number;
}

/** Takes the fields of a message apart. They are kept as one text, because most messages are never looked at. */
export function headersOf({ fields }: { readonly fields: string }): HeaderList {
  return fields.split("\r\n").filter((line) => line !== "").map((line) => {
    const colon = line.indexOf(":");
    return [line.slice(0, colon), line.slice(colon + 1).replace(/^[ \t]+|[ \t]+$/g, "")];
  });
}
