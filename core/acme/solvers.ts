import type { AcmeChallenge } from "../config/config.ts";
import { AcmeFault } from "./fault.ts";
import { ask, faultOf } from "./http.ts";
import { pause } from "./polling.ts";

/** One challenge, as it is to be answered. */
export interface Challenge {
  /** Without `*.`: what is proved is that one has the name below it. */
  readonly hostname: string;
  readonly token: string;
  /** Of `http-01` the whole of it (RFC 8555 §8.3), of `dns-01` its digest, for the TXT record (§8.4). */
  readonly keyAuthorization: string;
}

/** Answers challenges of one kind. */
export interface Solver {
  /** Resolves when the directory may look. */
  present(challenge: Challenge, signal: AbortSignal): Promise<void>;
  withdraw(challenge: Challenge): Promise<void>;
}

export type Solvers = Readonly<Partial<Record<AcmeChallenge, Solver>>>;

/** By the data planes, which answer on port 80. */
export function httpSolver(planes: {
  present(token: string, keyAuthorization: string): Promise<void>;
  withdraw(token: string): void;
}): Solver {
  return {
    present: ({ token, keyAuthorization }) => planes.present(token, keyAuthorization),
    withdraw: ({ token }) => {
      planes.withdraw(token);
      return Promise.resolve();
    },
  };
}

export interface DnsWebhook {
  /** A user and a password in it are sent as Basic authorization. */
  readonly webhook: string;
  /** How long a record takes until everybody sees it, in milliseconds. */
  readonly propagationMs: number;
}

/**
 * By somebody who may change the zone: `POST URL/present` and `POST URL/cleanup` with `{"fqdn", "value"}`, as the
 * "HTTP request" provider of lego does in its default mode.
 */
export function dnsSolver({ webhook, propagationMs }: DnsWebhook): Solver {
  const call = async (action: "present" | "cleanup", challenge: Challenge, signal: AbortSignal) => {
    const { url, authorization } = target(webhook, action);
    const reply = await ask(url, {
      method: "POST",
      headers: { "content-type": "application/json", ...(authorization && { authorization }) },
      body: JSON.stringify({
        fqdn: `_acme-challenge.${challenge.hostname}.`,
        value: challenge.keyAuthorization,
      }),
      signal,
    });
    if (reply.status < 200 || reply.status > 299) {
      // What the webhook has to say is not the directory's word: it is about this one name.
      const { kind, message, retryAfterMs } = faultOf(reply, `The webhook's ${action}`, Date.now());
      throw new AcmeFault(kind, message, { retryAfterMs });
    }
  };
  return {
    async present(challenge, signal) {
      await call("present", challenge, signal);
      await pause(propagationMs, signal);
    },
    withdraw: (challenge) => call("cleanup", challenge, new AbortController().signal),
  };
}

/** `fetch` takes no URL with a password in it. */
function target(
  webhook: string,
  action: string,
): { readonly url: string; readonly authorization?: string } {
  const url = new URL(webhook);
  const { username, password } = url;
  url.username = url.password = "";
  url.pathname = `${url.pathname.replace(/\/+$/, "")}/${action}`;
  if (username === "" && password === "") return { url: url.href };
  const credentials = `${decodeURIComponent(username)}:${decodeURIComponent(password)}`;
  return { url: url.href, authorization: `Basic ${new TextEncoder().encode(credentials).toBase64()}` };
}
