import type { Attributes, Context, Span, Tracer } from "@opentelemetry/api";
import { VERSION } from "../version.ts";
import type { ConnectionRecord } from "./connection_record.ts";

/** The parts of a connection's path, by the names that their spans have. */
export type StepName =
  | "preface"
  | "route"
  | "handshake"
  | "connect"
  | "relay"
  | "handle"
  | "request"
  | "tunnel stream";

/** What is said of a step. Never a secret, and nothing of what is relayed. */
export type StepAttributes = Readonly<Record<string, string | number | boolean | undefined>>;

/** The spans of one connection. Its own is there from the beginning; those of steps are made when they are over. */
export interface ConnectionTrace {
  /**
   * A step is over.
   *
   * @param startedAt In `performance.now()` milliseconds.
   * @param failure Why it came to nothing; absent when it did not.
   */
  step(name: StepName, startedAt: number, attributes?: StepAttributes, failure?: string): void;
  /** The connection is over. */
  end(): void;
}

/** Where traces of connections begin. There is none, and nothing of this costs anything, unless they were asked for. */
export interface Traces {
  begin(record: ConnectionRecord): ConnectionTrace;
}

/** Where the runtime puts its own tracer provider when `OTEL_DENO=true`: `@opentelemetry/api` looks for it there, too. */
const REGISTERED = Symbol.for("opentelemetry.js.api.1");

/** What a connection ends with that is for an operator to look at, and not the doing of a client or a stranger. */
const FAULTS: ReadonlySet<string> = new Set([
  "error",
  "plugin_failed",
  "connect_failed",
  "connect_timeout",
  "unavailable",
  "timeout",
  "no_answer",
]);

/** Of any attribute: a trace is for looking at, and has room for many. */
const MAX_LENGTH = 256;

/** @returns `undefined` when nobody asked for traces: then not even the library is loaded. */
export async function openTraces(): Promise<Traces | undefined> {
  if (!Object.hasOwn(globalThis, REGISTERED)) return undefined;
  const { ROOT_CONTEXT, SpanKind, SpanStatusCode, trace } = await import("@opentelemetry/api");
  const tracer = trace.getTracer("postern", VERSION);
  const failed = { code: SpanStatusCode.ERROR };
  return {
    begin(record) {
      const options = { kind: SpanKind.SERVER, startTime: unixTime(record.acceptedAt) };
      const span = tracer.startSpan("connection", options, ROOT_CONTEXT);
      return new OpenTrace(tracer, record, span, trace.setSpan(ROOT_CONTEXT, span), failed);
    },
  };
}

class OpenTrace implements ConnectionTrace {
  readonly #tracer: Tracer;
  readonly #record: ConnectionRecord;
  readonly #span: Span;
  readonly #context: Context;
  readonly #failed: { readonly code: number };

  constructor(
    tracer: Tracer,
    record: ConnectionRecord,
    span: Span,
    context: Context,
    failed: { readonly code: number },
  ) {
    this.#tracer = tracer;
    this.#record = record;
    this.#span = span;
    this.#context = context;
    this.#failed = failed;
  }

  step(name: StepName, startedAt: number, attributes: StepAttributes = {}, failure?: string): void {
    const span = this.#tracer.startSpan(name, {
      startTime: unixTime(startedAt),
      attributes: bounded({ ...attributes, "postern.failure": failure }),
    }, this.#context);
    if (failure !== undefined) span.setStatus(this.#failed);
    span.end();
  }

  end(): void {
    const { id, listener, info, plugin, target, sent, received, result = "ok", sourceAddress } = this.#record;
    this.#span.setAttributes(bounded({
      "client.address": sourceAddress,
      "postern.connection": id,
      "postern.listener": listener.address,
      "postern.protocol": info?.protocol,
      "postern.sni": info?.tls?.serverName,
      "postern.plugin": plugin?.name,
      "postern.target": target,
      "postern.bytes_in": sent.bytes,
      "postern.bytes_out": received.bytes,
      "postern.result": result,
      "postern.handed_over_from": info?.handedOver?.from,
    }));
    if (FAULTS.has(result)) this.#span.setStatus(this.#failed);
    this.#span.end();
  }
}

/** Milliseconds since 1970, with their fractions. */
function unixTime(at: number): number {
  return performance.timeOrigin + at;
}

function bounded(attributes: StepAttributes): Attributes {
  const known: Attributes = {};
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== undefined) known[name] = typeof value === "string" ? value.slice(0, MAX_LENGTH) : value;
  }
  return known;
}
