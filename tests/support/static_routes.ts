/** One route of the plugin `static`, as the config has it. */
export interface Route {
  readonly sni?: string | readonly string[];
  readonly protocol?: "tls" | "postgres" | "http" | "ssh" | "other";
  readonly terminate?: boolean;
  readonly alpn?: readonly string[];
  readonly to: string | readonly string[];
  readonly proxyProtocol?: "off" | "v1" | "v2" | "pass";
}

/** The config's `plugins` section with these routes and no other plugin. JSON is YAML as well. */
export function staticRoutes(...routes: readonly Route[]): string {
  return `plugins: ${JSON.stringify({ static: { routes } })}\n`;
}
