import { canonicalName, GatewayError } from "../../core/plugin/mod.ts";

/** Makes the host name of a tunnel from the server name that a client asked for. */
export interface HostNameTemplate {
  /**
   * What `--hostname` is given: a host name, or a URL where the template is one.
   *
   * @param serverName In canonical form.
   * @returns `undefined` when what comes out is no DNS name: a label of more than 63 characters, 253 in all.
   */
  hostNameFor(serverName: string): string | undefined;
  /** Whether every host name that it makes is under a domain that stands in the template itself. */
  readonly hasDomain: boolean;
}

/** An `https://` that the program would add by itself, the host, and a port. */
const SHAPE = /^((?:https?:\/\/)?)(\[[\da-f:.]+\]|[^/:[\]]+)((?::\d{1,5})?)$/i;
/** Two labels at least: everybody can have a name under one, as in `{sni:raw}.com`. */
const DOMAIN_AT_END = /\}[^{}]*\.[^{}.]+\.[^{}.]+\.?$/;
const PLACEHOLDER = /\{sni(:raw)?\}/g;
/** The host names that are left must be worth having a tunnel of their own: `name.example.com`. */
const FEWEST_LABELS = 3;

/**
 * Reads a template such as `cft-{sni}`: `{sni}` is the server name with {@link joinFirstLabels} done to it,
 * `{sni:raw}` the server name itself. What stands around them is kept.
 *
 * @throws {GatewayError} `config-invalid`.
 */
export function parseHostNameTemplate(text: string): HostNameTemplate {
  const [, scheme = "", host = "", port = ""] = SHAPE.exec(text.replaceAll("{sni:raw}", "{sni+raw}")) ?? [];
  const pattern = host.replaceAll("{sni+raw}", "{sni:raw}");
  const literal = pattern.replaceAll(PLACEHOLDER, "");
  if (host === "" || /[{}]/.test(literal) || Number(port.slice(1)) > 65_535) throw malformed(text);
  if (literal === pattern) {
    const fixed = isAddress(pattern) ? pattern : canonicalName(pattern);
    if (fixed === undefined) throw malformed(text);
    return { hostNameFor: () => `${scheme}${fixed}${port}`, hasDomain: true };
  }
  const fill = (serverName: string) =>
    canonicalName(
      pattern.replaceAll(
        PLACEHOLDER,
        (_, raw) => raw === undefined ? joinFirstLabels(serverName) : serverName,
      ),
    );
  if (fill("a.example.com") === undefined) throw malformed(text);
  return {
    hasDomain: DOMAIN_AT_END.test(pattern),
    hostNameFor(serverName) {
      const name = fill(serverName);
      return name && `${scheme}${name}${port}`;
    },
  };
}

/**
 * The first dot becomes a dash, as long as at least three labels remain: `service.customer1.example.com` is
 * `service-customer1.example.com`, while `db-123.ratio1.link` would lose its own domain and stays.
 */
export function joinFirstLabels(name: string): string {
  const labels = name.split(".").length;
  return labels > FEWEST_LABELS ? name.replace(".", "-") : name;
}

/** An IP address, which no template makes but the config may name outright. */
function isAddress(host: string): boolean {
  return /^(?:\d{1,3}(?:\.\d{1,3}){3}|\[[\da-f:.]+\])$/i.test(host);
}

function malformed(text: string): GatewayError {
  return new GatewayError(
    "config-invalid",
    `${JSON.stringify(text)} makes no host name: write "cft-{sni}", "{sni:raw}" or a name`,
  );
}
