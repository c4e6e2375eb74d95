import {
  type Address,
  freeAddress,
  isRoot,
  owning,
  type Program,
  run,
  type RunOptions,
  runOrThrow,
  type RunResult,
  startProgram,
  temporaryFolder,
} from "./processes.ts";

/** A running OpenSSH server that lets in the user who runs the tests, by a key made for it. */
export interface Sshd extends AsyncDisposable {
  readonly address: Address;
  readonly program: Program;
  /** Runs `command` through the real `ssh`, connecting to `via` (a gateway) or straight to the server. */
  ssh(command: string, options?: SshOptions): Promise<RunResult>;
}

export interface SshOptions extends Pick<RunOptions, "input" | "deadlineMs"> {
  /** Where to connect to. @default the server itself */
  readonly via?: Address;
}

/** Where sshd wants to find an empty folder when root starts it. */
const PRIVILEGE_SEPARATION_FOLDER = "/run/sshd";

/** Starts sshd in the foreground with a fresh host key and a fresh user key. */
export async function startSshd(): Promise<Sshd> {
  const address = freeAddress();
  return await owning(async (stack) => {
    const folder = stack.use(await temporaryFolder()).path;
    await makeKeys(folder);
    await Deno.writeTextFile(`${folder}/sshd_config`, configure(folder, address));
    if (isRoot()) await Deno.mkdir(PRIVILEGE_SEPARATION_FOLDER, { recursive: true, mode: 0o755 });
    const program = stack.use(
      await startProgram("sshd", { args: ["-D", "-e", "-f", `${folder}/sshd_config`] }),
    );
    await program.waitForPort(address);
    const run = (command: string, options: SshOptions = {}) =>
      ssh(folder, command, { via: address, ...options });
    return { address, program, ssh: run };
  });
}

async function makeKeys(folder: string): Promise<void> {
  for (const name of ["host", "user"]) {
    await runOrThrow("ssh-keygen", { args: ["-q", "-t", "ed25519", "-N", "", "-f", `${folder}/${name}`] });
  }
  await Deno.copyFile(`${folder}/user.pub`, `${folder}/authorized_keys`);
  const [type, key] = (await Deno.readTextFile(`${folder}/host.pub`)).split(" ");
  await Deno.writeTextFile(`${folder}/known_hosts`, `postern-test ${type} ${key}\n`);
}

function configure(folder: string, { hostname, port }: Address): string {
  return `
ListenAddress ${hostname}
Port ${port}
HostKey ${folder}/host
AuthorizedKeysFile ${folder}/authorized_keys
StrictModes no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
UsePAM no
PidFile none
`;
}

/** The host key is checked under a name of its own, so that a gateway's port does not matter. */
async function ssh(
  folder: string,
  command: string,
  options: SshOptions & { via: Address },
): Promise<RunResult> {
  const { via, ...rest } = options;
  const settings = {
    IdentityFile: `${folder}/user`,
    IdentitiesOnly: "yes",
    IdentityAgent: "none",
    UserKnownHostsFile: `${folder}/known_hosts`,
    GlobalKnownHostsFile: "/dev/null",
    HostKeyAlias: "postern-test",
    StrictHostKeyChecking: "yes",
    BatchMode: "yes",
    ConnectTimeout: "10",
    LogLevel: "ERROR",
  };
  const flags = Object.entries(settings).flatMap(([name, value]) => ["-o", `${name}=${value}`]);
  return await run("ssh", {
    args: ["-F", "none", ...flags, "-p", String(via.port), via.hostname, command],
    ...rest,
  });
}
