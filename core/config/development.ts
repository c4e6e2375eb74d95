import { type ConfigResult, type ConfigSource, parseConfig, type ParseOptions } from "./parse_config.ts";

/**
 * The gateway that runs without a config file, for trying things out on one machine. A config like any other, so that
 * `--set` and `--plugins` work on it. Whoever runs it makes
 * the certificate and the token.
 */
export const DEVELOPMENT_CONFIG: ConfigSource = {
  file: "(development config)",
  text: `\
listeners:
  - address: "127.0.0.1:8443"
  - address: "127.0.0.1:8080"
    kind: http
tls:
  certificates: [{ cert: .postern/cert.pem, key: .postern/key.pem }]
admin:
  address: "127.0.0.1:9090"
log:
  format: pretty
plugins:
  static: {}
  ws-agent:
    domain: localhost
    endpoint: tunnel.localhost
    tokens: .postern/tokens.yaml
    portsAddress: "127.0.0.1"
`,
};

/** The development gateway's config; see {@link DEVELOPMENT_CONFIG}. */
export function developmentConfig(options: ParseOptions): ConfigResult {
  return parseConfig(DEVELOPMENT_CONFIG, options);
}
