import { z } from "zod";
import type { AcmeConfig, ListenerConfig } from "./config.ts";
import { duration } from "./fields.ts";
import type { ConfigPath } from "./path.ts";

/** The directories of Let's Encrypt, by the words of the config. */
const DIRECTORIES: Readonly<Record<string, string>> = {
  production: "https://acme-v02.api.letsencrypt.org/directory",
  staging: "https://acme-staging-v02.api.letsencrypt.org/directory",
};

const directory = z.string().refine(
  (value) => Object.hasOwn(DIRECTORIES, value) || isPlainUrl(value),
  {
    error: 'Expected "production", "staging" or a URL such as "https://acme.example.com/directory"',
  },
);

const webhook = z.string().refine((value) => isUrl(value, ["https:", "http:"]), {
  error: 'Expected a URL such as "https://dns.example.com/acme"',
});

const file = z.string().min(1);

/** `tls.acme`. Whoever writes it has agreed to the terms of the directory. */
export const acmeSchema = z.strictObject({
  email: z.string().regex(/^[^\s@,;<>]+@[^\s@,;<>]+$/, { error: "Expected an e-mail address" }).optional(),
  directory: directory.default("production"),
  ca: file.optional(),
  cache: file.default("cert-cache"),
  challenges: z.array(z.enum(["http-01", "dns-01"])).min(1).default(["http-01"]),
  dns01: z.strictObject({ webhook, propagation: duration().prefault("10s") }).optional(),
});

type CheckedAcme = z.output<typeof acmeSchema>;

/** What does not fit together, with its path below `tls.acme`. */
export function acmeFaults(
  acme: CheckedAcme | undefined,
  listeners: readonly { readonly kind: ListenerConfig["kind"] }[],
): { readonly path: ConfigPath; readonly message: string }[] {
  if (acme === undefined) return [];
  const { challenges, dns01 } = acme;
  const faults = [];
  if (challenges.includes("http-01") && !listeners.some(({ kind }) => kind === "http")) {
    faults.push({
      path: ["challenges"],
      message:
        'The challenge "http-01" is answered by a listener of "kind: http", on public port 80; add one, ' +
        'or use "dns-01" alone',
    });
  }
  if (challenges.includes("dns-01") && dns01 === undefined) {
    faults.push({ path: ["challenges"], message: 'The challenge "dns-01" needs "tls.acme.dns01.webhook"' });
  }
  if (!challenges.includes("dns-01") && dns01 !== undefined) {
    faults.push({ path: ["dns01"], message: 'Without effect: "dns-01" is not among "tls.acme.challenges"' });
  }
  return faults;
}

/** @param from Makes a path of the config one from the working directory. */
export function toAcme(checked: CheckedAcme, from: (path: string) => string): AcmeConfig {
  const { email, directory, ca, cache, challenges, dns01 } = checked;
  return {
    ...(email !== undefined && { email }),
    directory: DIRECTORIES[directory] ?? directory,
    ...(ca !== undefined && { ca: from(ca) }),
    cache: from(cache),
    challenges: [...new Set(challenges)],
    ...(dns01 && { dns01: { webhook: dns01.webhook, propagationMs: dns01.propagation } }),
  };
}

function isUrl(value: string, protocols: readonly string[]): boolean {
  return URL.canParse(value) && protocols.includes(new URL(value).protocol) && new URL(value).hash === "";
}

/** A directory is asked by signed requests: a password in its URL would only get into logs. */
function isPlainUrl(value: string): boolean {
  return isUrl(value, ["https:"]) && new URL(value).username === "" && new URL(value).password === "";
}
