import { IdentityFault } from "./identity_fault.ts";

/** A SPIFFE ID, `spiffe://<trust domain>/<path>` (SPIFFE-ID §2). */
export interface SpiffeId {
  /** As it stands in the certificate: it has one spelling only. */
  readonly text: string;
  readonly trustDomain: string;
  /** The segments of the path, none of them empty. Upper and lower case are different. */
  readonly path: readonly string[];
}

/** SPIFFE-ID §2.3. */
const MAX_BYTES = 2048;
/** SPIFFE-ID §2.3, after RFC 3986's bound of a host. */
const MAX_TRUST_DOMAIN_BYTES = 255;

const SCHEME = /^spiffe:/i;
const PREFIX = "spiffe://";
/** SPIFFE-ID §2.1: lower case is part of it, not something to be converted to. */
const TRUST_DOMAIN = /^[a-z0-9._-]{1,255}$/;
/** SPIFFE-ID §2.2: no percent-encoding, so that there is nothing to decode, and nothing to decode twice. */
const SEGMENT = /^[A-Za-z0-9._-]+$/;

/** Whether `text` is a trust domain's name as it stands in a SPIFFE ID. For checking a config. */
export function isTrustDomain(text: string): boolean {
  return TRUST_DOMAIN.test(text);
}

/**
 * Reads a SPIFFE ID strictly, as the specification has it since it leaves no two spellings for one ID: nothing is
 * converted, decoded or dropped. The scheme is in lower case too.
 *
 * @param uri The content of a `uniformResourceIdentifier` (an IA5String), as raw bytes.
 * @throws {IdentityFault} `no_spiffe_id` for a URI of another scheme, `malformed_spiffe_id`. The message holds nothing
 * that the client has chosen.
 */
export function parseSpiffeId(uri: Uint8Array): SpiffeId {
  if (uri.length > MAX_BYTES) throw malformed(`has ${uri.length} bytes, at most ${MAX_BYTES} are allowed`);
  // A character a byte: what is not ASCII stays outside of every set that is allowed below.
  const text = String.fromCharCode(...uri);
  if (!SCHEME.test(text)) {
    throw new IdentityFault("no_spiffe_id", "The certificate's URI is not a SPIFFE ID");
  }
  if (!text.startsWith(PREFIX)) throw malformed(`does not start with "${PREFIX}"`);
  const [trustDomain = "", ...path] = text.slice(PREFIX.length).split("/");
  checkTrustDomain(trustDomain);
  for (const segment of path) checkSegment(segment);
  return { text, trustDomain, path };
}

function checkTrustDomain(name: string): void {
  if (isTrustDomain(name)) return;
  if (name === "") throw malformed("has no trust domain");
  if (name.length > MAX_TRUST_DOMAIN_BYTES) throw malformed(`has a trust domain of ${name.length} bytes`);
  throw malformed("has a trust domain with other characters than a-z, 0-9, dot, dash and underscore");
}

function checkSegment(segment: string): void {
  if (segment === "") throw malformed("has an empty segment in its path, or a slash at its end");
  if (segment === "." || segment === "..") throw malformed("has a path with a relative segment");
  if (!SEGMENT.test(segment)) {
    throw malformed("has a path with other characters than letters, digits, dot, dash and underscore");
  }
}

function malformed(what: string): IdentityFault {
  return new IdentityFault("malformed_spiffe_id", `The SPIFFE ID ${what}`);
}
