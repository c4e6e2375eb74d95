import { X509Certificate } from "node:crypto";
import { join } from "node:path";
import { z } from "zod";
import { messageOf } from "../errors.ts";
import type { Log } from "../log.ts";
import { type CertificateMaterial, parseCertificate } from "../tls/certificates.ts";
import { type Bundle, fileOf, formatBundle, MAX_BUNDLE_BYTES, nameOfFile, parseBundle } from "./bundle.ts";

/** Certificates that are held, and taken from a cache: the latest that were written. What is older is left alone. */
export const MAX_CERTIFICATES = 2000;
/** Names of which failures are remembered. */
const MAX_FAILURES = 2000;

/** A certificate, and when its life began; milliseconds since 1970. */
export interface CachedCertificate {
  readonly name: string;
  readonly material: CertificateMaterial;
  readonly notBefore: number;
}

/** Who asks (RFC 8555 §7.1.2). */
export interface Account {
  /** PEM, PKCS #8. */
  readonly key: string;
  readonly url: string;
  readonly email?: string | undefined;
}

/** What is remembered of attempts that failed, so that a restart asks no sooner. */
export interface Failure {
  /** In a row. */
  readonly count: number;
  readonly error: string;
  /** Milliseconds since 1970. */
  readonly nextAttempt: number;
  /** Whether that is the directory's own word: it was asked too often. */
  readonly limited?: boolean | undefined;
}

const accountSchema: z.ZodType<Account> = z.object({
  key: z.string().includes("PRIVATE KEY").max(16_384),
  url: z.url().max(2048),
  email: z.string().optional(),
});
const failuresSchema: z.ZodType<Record<string, Failure>> = z.record(
  z.string().max(255),
  z.object({
    count: z.int().min(1),
    error: z.string().max(2000),
    nextAttempt: z.number(),
    limited: z.boolean().optional(),
  }),
).refine((failures) => Object.keys(failures).length <= MAX_FAILURES);

const ACCOUNT_FILE = "account.json", FAILURES_FILE = "failures.json";
const CERTIFICATE_FOLDER = "certificates";

/**
 * What outlives a restart: the account, the certificates with their keys, and what failed. Nobody else may read it:
 * folders have mode 0700, files 0600. Each file is replaced in one step, so that it is the old one or the new one. One
 * that can't be read is set aside, and what was in it is had anew.
 */
export class AcmeCache {
  readonly #folder: string;
  readonly #log: Log;

  private constructor(folder: string, log: Log) {
    this.#folder = folder;
    this.#log = log;
  }

  /**
   * Makes the folders where they are missing. Each directory has one of its own: what staging gave out is of no use to
   * production.
   *
   * @throws {Error} The folder can't be made, or written to.
   */
  static async open(path: string, directory: string, log: Log): Promise<AcmeCache> {
    const folder = join(path, await folderOf(directory));
    await Deno.mkdir(path, { recursive: true, mode: 0o700 });
    for (const one of [folder, join(folder, CERTIFICATE_FOLDER)]) {
      await Deno.mkdir(one, { recursive: true, mode: 0o700 });
      await Deno.chmod(one, 0o700);
    }
    const cache = new AcmeCache(folder, log);
    await cache.#removeLeftovers();
    await cache.#write(".writable", ""); // better now than when the first certificate is there
    await Deno.remove(join(folder, ".writable"));
    return cache;
  }

  async readAccount(): Promise<Account | undefined> {
    return await this.#readJson(ACCOUNT_FILE, accountSchema);
  }

  async writeAccount(account: Account): Promise<void> {
    await this.#write(ACCOUNT_FILE, `${JSON.stringify(account, null, 2)}\n`);
  }

  /** The directory knows nothing of it: it is set aside, for whoever wonders. */
  async dropAccount(): Promise<void> {
    await this.#setAside(ACCOUNT_FILE, "The directory does not know this account");
  }

  async readFailures(): Promise<Map<string, Failure>> {
    return new Map(Object.entries(await this.#readJson(FAILURES_FILE, failuresSchema) ?? {}));
  }

  async writeFailures(failures: ReadonlyMap<string, Failure>): Promise<void> {
    const kept = [...failures].slice(0, MAX_FAILURES);
    await this.#write(FAILURES_FILE, `${JSON.stringify(Object.fromEntries(kept))}\n`);
  }

  /**
   * Those that have expired, too: nobody has a better one yet, and the clock may be wrong.
   *
   * @throws {Error} A file can't be read, whatever is in it.
   */
  async readCertificates(): Promise<CachedCertificate[]> {
    const found: CachedCertificate[] = [];
    for (const { file, name } of await this.#certificateFiles()) {
      const certificate = await this.#readCertificate(file, name);
      if (certificate !== undefined) found.push(certificate);
    }
    return found;
  }

  /** The latest that were written, when there are too many. */
  async #certificateFiles(): Promise<{ readonly file: string; readonly name: string }[]> {
    const files = (await this.#list(CERTIFICATE_FOLDER)).flatMap(({ name: entry, isFile }) => {
      const name = isFile ? nameOfFile(entry) : undefined;
      return name === undefined ? [] : [{ file: join(CERTIFICATE_FOLDER, entry), name }];
    });
    if (files.length <= MAX_CERTIFICATES) return files;
    const dated = await Promise.all(files.map(async (one) => {
      const { mtime } = await Deno.stat(this.#path(one.file));
      return { ...one, written: mtime?.getTime() ?? 0 };
    }));
    return dated.sort((a, b) => b.written - a.written).slice(0, MAX_CERTIFICATES);
  }

  /** Its key, too. It is no error that there is none. */
  async removeCertificate(name: string): Promise<void> {
    try {
      await Deno.remove(this.#path(join(CERTIFICATE_FOLDER, fileOf(name))));
    } catch (error) {
      if (!(error instanceof Deno.errors.NotFound)) throw error;
    }
  }

  /**
   * Checks a certificate that has just come, and keeps it.
   *
   * @throws {GatewayError} `certificate-invalid`: it is of no use, and not kept.
   */
  async writeCertificate(name: string, bundle: Bundle): Promise<CachedCertificate> {
    const file = join(CERTIFICATE_FOLDER, fileOf(name));
    const text = formatBundle(bundle);
    const kept = parseBundle(text); // as it will be read
    if (kept === undefined) throw new Error("What came is not a key with its certificates");
    const certificate = await readBundle(name, kept, this.#path(file));
    await this.#write(file, text);
    return certificate;
  }

  async #readCertificate(file: string, name: string): Promise<CachedCertificate | undefined> {
    const text = await this.#read(file, MAX_BUNDLE_BYTES);
    if (text === undefined) return undefined;
    const bundle = parseBundle(text);
    try {
      if (bundle === undefined) throw new Error("It is not a key with its certificates");
      return await readBundle(name, bundle, this.#path(file));
    } catch (error) {
      await this.#setAside(file, messageOf(error));
      return undefined;
    }
  }

  async #readJson<T>(file: string, schema: z.ZodType<T>): Promise<T | undefined> {
    const text = await this.#read(file, 1024 * 1024);
    if (text === undefined) return undefined;
    const parsed = schema.safeParse(parseJson(text));
    if (parsed.success) return parsed.data;
    await this.#setAside(file, "It is not what was written there"); // more could tell of a key
    return undefined;
  }

  /**
   * @returns `undefined`: there is no such file, or what is in it is too long.
   * @throws {Error} It can't be read now. It may well be in order: nothing is made anew for that.
   */
  async #read(file: string, maxBytes: number): Promise<string | undefined> {
    try {
      const { size } = await Deno.stat(this.#path(file));
      if (size > maxBytes) {
        await this.#setAside(file, `It is longer than ${maxBytes} bytes`);
        return undefined;
      }
      return await Deno.readTextFile(this.#path(file));
    } catch (error) {
      if (error instanceof Deno.errors.NotFound) return undefined;
      throw new Error(`Cannot read "${this.#path(file)}": ${messageOf(error)}`, { cause: error });
    }
  }

  /** The one that is there stays as it is until the new one is on the disk. */
  async #write(file: string, text: string): Promise<void> {
    const path = this.#path(file);
    const temporary = `${path}.${crypto.randomUUID()}${TEMPORARY}`;
    beingWritten.add(temporary);
    try {
      {
        using open = await Deno.open(temporary, { write: true, createNew: true, mode: 0o600 });
        const bytes = new TextEncoder().encode(text);
        for (let done = 0; done < bytes.length;) done += await open.write(bytes.subarray(done));
        await open.sync();
      }
      await Deno.rename(temporary, path);
    } catch (error) {
      await Deno.remove(temporary).catch(() => {});
      throw error;
    } finally {
      beingWritten.delete(temporary);
    }
  }

  async #setAside(file: string, reason: string): Promise<void> {
    const path = this.#path(file);
    const aside = `${path}.bad-${Date.now()}`;
    try {
      await Deno.rename(path, aside);
      this.#log.warn("acme_cache_file_set_aside", { file: path, as: aside, reason });
    } catch (error) {
      if (error instanceof Deno.errors.NotFound) return;
      this.#log.error("acme_cache_failed", { file: path, reason: messageOf(error) });
    }
  }

  /** What a crash left half written. */
  async #removeLeftovers(): Promise<void> {
    for (const folder of ["", CERTIFICATE_FOLDER]) {
      for (const { name, isFile } of await this.#list(folder)) {
        const path = this.#path(join(folder, name));
        if (isFile && name.endsWith(TEMPORARY) && !beingWritten.has(path)) await Deno.remove(path);
      }
    }
  }

  async #list(folder: string): Promise<Deno.DirEntry[]> {
    return await Array.fromAsync(Deno.readDir(this.#path(folder)));
  }

  #path(file: string): string {
    return join(this.#folder, file);
  }
}

const TEMPORARY = ".new";
/** Paths that another cache of this worker may be about to rename: at a reload the old one is at work yet. */
const beingWritten = new Set<string>();

/** `acme-v02.api.letsencrypt.org-1a2b3c4d`: to be read by people, and another one for each URL. */
async function folderOf(directory: string): Promise<string> {
  const hash = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(directory));
  const { host } = new URL(directory);
  return `${host.replaceAll(/[^a-z0-9.-]/g, "_")}-${new Uint8Array(hash, 0, 4).toHex()}`;
}

/** @throws {GatewayError} `certificate-invalid`. */
async function readBundle(
  name: string,
  { certPem, keyPem }: Bundle,
  path: string,
): Promise<CachedCertificate> {
  const material = await parseCertificate(certPem, keyPem, { cert: path, key: path });
  if (!material.names.includes(name)) {
    throw new Error(`It is for ${material.names.join(", ").slice(0, 500)}, not for ${name}`);
  }
  return { name, material, notBefore: Date.parse(new X509Certificate(certPem).validFrom) };
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
