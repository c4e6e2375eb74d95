import { createLog } from "../../core/log.ts";
import type { CertificateMaterial } from "../../core/tls/certificates.ts";
import { parseCertificate } from "../../core/tls/certificates.ts";
import { staticConfig } from "../../plugins/static/config.ts";
import definition from "../../plugins/static/mod.ts";
import { pluginContext } from "../support/plugin_context.ts";
import { createAuthority, type TestAuthority } from "../support/certificates.ts";
import { readToEnd, serveTcp, type TestServer } from "../support/echo.ts";
import { TestPlane, type TestPlaneOptions } from "../support/plane.ts";
import type { Route } from "../support/static_routes.ts";

/** A data plane in this thread whose one plugin is the real `static`: what a stranger meets, with `--allow-net` alone. */
export async function staticPlane(
  routes: readonly Route[],
  options: Omit<TestPlaneOptions, "plugins"> = {},
): Promise<TestPlane> {
  const log = createLog("plugin:static", "error", () => {});
  const plugin = await definition.start(
    staticConfig.parse({ routes }),
    pluginContext({ name: "static", log }),
  );
  return new TestPlane({ ...options, plugins: [plugin] });
}

/** A service behind the gateway that notes everything that reached it. */
export type Recorder = TestServer & {
  /** What each connection brought up to its FIN, in the order in which they ended. */
  readonly received: readonly Uint8Array[];
};

/** Reads up to the client's FIN, and answers `REACHED` then. */
export function startRecorder(): Recorder {
  const received: Uint8Array[] = [];
  const server = serveTcp(async (conn) => {
    received.push(await readToEnd(conn));
    await conn.write(REACHED);
  });
  return Object.create(server, { received: { value: received } });
}

/** What a {@link Recorder} answers. */
export const REACHED: Uint8Array = new TextEncoder().encode("reached");

/** A certificate of the gateway for these names, and who issued it. */
export async function certificateFor(
  ...names: readonly string[]
): Promise<{ readonly authority: TestAuthority; readonly material: CertificateMaterial }> {
  const authority = await createAuthority();
  const { certificate, key } = await authority.issue({ names });
  return {
    authority,
    material: await parseCertificate(certificate, key, { cert: "cert.pem", key: "key.pem" }),
  };
}
