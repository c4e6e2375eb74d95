import { checkForClients, readCertificate, readUris } from "./client_certificate.ts";
import type { RevocationLists } from "./crl.ts";
import { DerError } from "./der.ts";
import { IdentityFault } from "./identity_fault.ts";
import { parseSpiffeId, type SpiffeId } from "./spiffe.ts";

export { IdentityFault, type IdentityFaultCode } from "./identity_fault.ts";

/** Who a client is, by its certificate: `spiffe://<issuer>/orgs/<org>/users/<user>`. */
export interface Identity {
  /** The whole SPIFFE ID, as it stands in the certificate. */
  readonly spiffeId: string;
  readonly org: string;
  readonly user: string;
}

export interface IdentifyOptions {
  /** The trust domain that the client's SPIFFE ID must be of. */
  readonly issuer: string;
  /** @default nothing is ever revoked */
  readonly crls?: RevocationLists;
  /** Milliseconds since 1970. @default the time of the call */
  readonly now?: number;
}

/**
 * From a verified certificate to who its holder is. What is checked here is what verifying a chain leaves open: that
 * the certificate is for clients, is not revoked, and has one URI among its names (X509-SVID §2), which is a SPIFFE ID
 * of the right form. Everything is read from the DER, never from text that somebody has made of it.
 *
 * Synchronous and cheap, as it runs for each connection: a few microseconds. With revocation lists, a certificate that
 * is seen for the first time costs one verified signature for each step up to its CA.
 *
 * @param chain DER, leaf first. Its signatures, its expiry and that it leads to a trusted CA are verified already.
 * @throws {IdentityFault} Nothing else, whatever the bytes are.
 */
export function identify(chain: readonly Uint8Array[], options: IdentifyOptions): Identity {
  const [leaf] = chain;
  if (leaf === undefined) throw new IdentityFault("malformed_certificate", "There is no certificate");
  try {
    const certificate = readCertificate(leaf);
    checkForClients(certificate);
    const identity = identityOf(readUris(certificate), options.issuer);
    options.crls?.check(chain, certificate, options.now ?? Date.now());
    return identity;
  } catch (error) {
    if (!(error instanceof DerError)) throw error;
    const message = `The certificate is malformed: ${error.message}`;
    throw new IdentityFault("malformed_certificate", message, { cause: error });
  }
}

function identityOf(uris: readonly Uint8Array[], issuer: string): Identity {
  const [uri] = uris;
  if (uri === undefined) {
    throw new IdentityFault("no_spiffe_id", "The certificate has no URI among its names");
  }
  if (uris.length > 1) {
    throw new IdentityFault("several_spiffe_ids", `The certificate has ${uris.length} URIs, wanted one`);
  }
  const id = parseSpiffeId(uri);
  if (id.trustDomain !== issuer) {
    throw new IdentityFault(
      "wrong_trust_domain",
      `The trust domain is "${id.trustDomain}", wanted "${issuer}"`,
    );
  }
  return userOf(id);
}

function userOf({ text, path }: SpiffeId): Identity {
  const [orgs, org, users, user, ...more] = path;
  if (orgs !== "orgs" || org === undefined || users !== "users" || user === undefined || more.length > 0) {
    throw new IdentityFault("malformed_spiffe_id", 'The SPIFFE ID\'s path is not "/orgs/<org>/users/<user>"');
  }
  return { spiffeId: text, org, user };
}
