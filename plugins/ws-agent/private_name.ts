import { isServiceName, type LeaseKey } from "./names.ts";

/** A private service: whose it is, and what it is called. Neither has a slash, so `OWNER/NAME` is of one meaning. */
export interface PrivateService {
  readonly owner: string;
  readonly name: string;
}

/** Of `OWNER/NAME`; what a message has room for. */
const MAX_LENGTH = 255;
/** What ids of tokens and percent-encoded parts are made of, with the colons between. */
const OWNER = /^[\w.~!*'()%:-]+$/;
const TOKEN = "token:", CONTROLLER = "controller:";

/**
 * What stands for a party in `OWNER/NAME`. Nobody can choose it: it is made of what the party proves, and of nothing that it says.
 * The id of a token as it is (it has no colon), `jwt:ISSUER:SUBJECT`, `controller:SUBJECT`, each percent-encoded.
 *
 * @param principal See `Grant.principal`.
 */
export function ownerOf(principal: string): string {
  if (principal.startsWith(TOKEN)) return principal.slice(TOKEN.length);
  if (!principal.startsWith(CONTROLLER)) return principal; // a JWT's, whose parts are encoded already
  return CONTROLLER + encodeURIComponent(principal.slice(CONTROLLER.length));
}

/** Whether a principal is of more than one party, as that of JWTs without a subject is: what it has would be everybody's. */
export function isShared(principal: string): boolean {
  return principal.startsWith("jwt:") && principal.endsWith(":");
}

/**
 * Reads `NAME`, which is one of `self`, or `OWNER/NAME`.
 *
 * @returns `undefined` for what no service can be called.
 */
export function parsePrivateService(text: string, self: string): PrivateService | undefined {
  const slash = text.lastIndexOf("/");
  const service = { owner: slash < 0 ? self : text.slice(0, slash), name: text.slice(slash + 1) };
  const isOne = OWNER.test(service.owner) && isServiceName(service.name);
  return isOne && formatPrivateService(service).length <= MAX_LENGTH ? service : undefined;
}

/** The inverse of {@link parsePrivateService}. */
export function formatPrivateService({ owner, name }: PrivateService): string {
  return `${owner}/${name}`;
}

export function privateKey(service: PrivateService): LeaseKey {
  return `private:${formatPrivateService(service)}`;
}

/** Whether a key is that of a private service. */
export function isPrivateKey(key: string): boolean {
  return key.startsWith("private:");
}
