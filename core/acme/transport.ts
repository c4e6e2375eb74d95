import "./no_environment.ts";
import { AsyncLocalStorage } from "node:async_hooks";
import acme from "acme-client";
import { VERSION } from "../version.ts";
import { ask, faultOf, isBadNonce } from "./http.ts";

/** How the library is to speak HTTP. */
export interface Transport {
  readonly client: Deno.HttpClient | undefined;
  /** Ends what is under way. */
  readonly signal: AbortSignal;
}

/*
 * The library has one way to speak HTTP for all its clients. At a reload two directories are at work, and each order
 * has a signal of its own: whose a request is follows from the call that it belongs to.
 */
const current = new AsyncLocalStorage<Transport>();

/** Everything that the library asks for within `call` goes that way. */
export function through<T>(transport: Transport, call: () => Promise<T>): Promise<T> {
  return current.run(transport, call);
}

acme.axios.defaults.adapter = request;

/** In the place of the library's own way: bounded, without retries of its own, and with errors that say more. */
async function request(config: AxiosRequest): Promise<AxiosReply> {
  const transport = current.getStore();
  if (transport === undefined) throw new TypeError("Nobody has said how to ask a directory");
  const { url = "", method = "get", headers, data } = config;
  const reply = await ask(url, {
    method: method.toUpperCase(),
    headers: { ...headers.toJSON() as Record<string, string>, "User-Agent": `Postern/${VERSION}` },
    ...(typeof data === "string" && { body: data }),
    client: transport.client,
    signal: transport.signal,
  });
  if (reply.status >= 400 && !isBadNonce(reply)) throw faultOf(reply, "The directory", Date.now());
  const { status, text } = reply;
  return {
    status,
    statusText: "",
    headers: Object.fromEntries(reply.headers),
    data: text,
    config,
    request: null,
  };
}

type AxiosAdapter = Extract<(typeof acme.axios.defaults)["adapter"], (...args: never[]) => unknown>;
type AxiosRequest = Parameters<AxiosAdapter>[0];
type AxiosReply = Awaited<ReturnType<AxiosAdapter>>;
