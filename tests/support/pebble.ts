import { createAuthority } from "./certificates.ts";
import { writePem } from "./openssl.ts";
import { requireProgram } from "./permissions.ts";
import { freeAddress, hostPort, owning, type Program, startProgram, temporaryFolder } from "./processes.ts";

/** What a test asks `can()` for. */
export const PEBBLE_PROGRAMS = ["pebble", "pebble-challtestsrv"] as const;

export interface PebbleOptions {
  /** Where it looks for HTTP-01, whatever the name: every name is this machine. */
  readonly httpPort: number;
}

export interface PebbleStart {
  /** How long its certificates live. @default 5 years */
  readonly validitySeconds?: number;
}

/** A real ACME directory, that rejects one nonce in five, and the DNS that it asks. */
export interface Pebble extends AsyncDisposable {
  readonly directory: string;
  /** Path of the CA of its own certificate. */
  readonly ca: string;
  /** The management address of its DNS, which takes `POST /set-txt` and `/clear-txt`. */
  readonly dns: string;
  /** What certificates from it lead to, PEM; another one after each start. */
  root(): Promise<string>;
  /** Stops the directory, as a machine that is down. */
  stop(): Promise<void>;
  /** Starts it again at the same address. It knows nothing of what was before. */
  start(options?: PebbleStart): Promise<void>;
  /** How many orders it has taken since it started. */
  orders(): number;
  /** What the directory has printed since it started. */
  output(): string;
}

export async function startPebble({ httpPort }: PebbleOptions): Promise<Pebble> {
  return await owning(async (stack) => {
    const folder = stack.use(await temporaryFolder()).path;
    const [api, management, dns, dnsManagement] = [
      freeAddress(),
      freeAddress(),
      freeAddress(),
      freeAddress(),
    ];
    const authority = await createAuthority();
    const leaf = await authority.issue({ names: ["localhost"], addresses: ["127.0.0.1"] });
    const ca = await writePem(folder, "ca", authority.certificate);
    const config = {
      pebble: {
        listenAddress: hostPort(api),
        managementListenAddress: hostPort(management),
        certificate: await writePem(folder, "cert", leaf.certificate),
        privateKey: await writePem(folder, "key", leaf.key),
        httpPort,
        tlsPort: 1,
        ocspResponderURL: "",
        externalAccountBindingRequired: false,
      },
    };
    const configFile = `${folder}/pebble.json`;
    const resolver = stack.use(
      await startProgram(requireProgram("pebble-challtestsrv"), {
        args: [
          ...["-dns01", hostPort(dns), "-management", hostPort(dnsManagement)],
          ...["-http01", "", "-https01", "", "-tlsalpn01", "", "-defaultIPv6", ""],
        ],
      }),
    );
    await resolver.waitForPort(dnsManagement);
    let running: Program | undefined;
    const start = async ({ validitySeconds: certificateValidityPeriod }: PebbleStart = {}) => {
      const pebble = { ...config.pebble, certificateValidityPeriod };
      await Deno.writeTextFile(configFile, JSON.stringify({ pebble }));
      running = await startProgram(requireProgram("pebble"), {
        args: ["-config", configFile, "-dnsserver", hostPort(dns)],
        env: { PEBBLE_VA_NOSLEEP: "1", PEBBLE_WFE_NONCEREJECT: "20", PEBBLE_AUTHZREUSE: "0" },
      });
      await running.waitForPort(api);
    };
    const stop = async () => {
      await running?.[Symbol.asyncDispose]();
      running = undefined;
    };
    stack.defer(stop);
    await start();
    return {
      directory: `https://${hostPort(api)}/dir`,
      ca,
      dns: `http://${hostPort(dnsManagement)}`,
      start,
      stop,
      // Not by requests: one with a nonce that is rejected is sent again.
      orders: () => (running?.output ?? "").split(" orders in the db").length - 1,
      output: () => running?.output ?? "",
      async root() {
        using client = Deno.createHttpClient({ caCerts: [authority.certificate] });
        const url = `https://${hostPort(management)}/roots/0`;
        return await (await fetch(url, { client })).text();
      },
    };
  });
}
