/** Where programs live that a normal user's PATH does not name: daemons, and PostgreSQL's own tools on Debian. */
const EXTRA_DIRECTORIES = ["/usr/local/bin", "/usr/bin", "/bin", "/usr/local/sbin", "/usr/sbin", "/sbin"];
const POSTGRES_ROOT = "/usr/lib/postgresql";

/** Whether this test run has every one of these permissions in full. Never prompts. */
export function granted(...names: Deno.PermissionName[]): boolean {
  return names.every((name) => Deno.permissions.querySync({ name }).state === "granted");
}

/**
 * Whether this run may start `program` and it is installed. False, never an exception, without permission: made
 * for `Deno.test({ ignore: !hasProgram("haproxy") })`.
 *
 * @param program A name (`openssl`, `initdb`) or an absolute path.
 */
export function hasProgram(program: string): boolean {
  return findProgram(program) !== undefined;
}

/** The absolute path of a program that {@link hasProgram} finds, else `undefined`. */
export function findProgram(program: string): string | undefined {
  if (!granted("run", "read", "env")) return undefined;
  if (program.startsWith("/")) return isFile(program) ? program : undefined;
  return directories().map((directory) => `${directory}/${program}`).find(isFile);
}

/** The path of a program that a test has checked for with {@link hasProgram}. Throws when it is not there. */
export function requireProgram(program: string): string {
  const path = findProgram(program);
  if (path === undefined) throw new Error(`The program "${program}" is not installed, or may not be run`);
  return path;
}

function directories(): string[] {
  const path = (Deno.env.get("PATH") ?? "").split(":").filter((directory) => directory.startsWith("/"));
  return [...path, ...EXTRA_DIRECTORIES, ...postgresDirectories()];
}

/** Newest version first. */
function postgresDirectories(): string[] {
  try {
    const versions = [...Deno.readDirSync(POSTGRES_ROOT)].map((entry) => entry.name);
    return versions.sort((a, b) => Number(b) - Number(a)).map((version) => `${POSTGRES_ROOT}/${version}/bin`);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return [];
    throw error;
  }
}

function isFile(path: string): boolean {
  try {
    return Deno.statSync(path).isFile;
  } catch {
    return false;
  }
}
