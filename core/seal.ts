/**
 * Ends a worker's permission to read the folders that its code was loaded from. A dynamic `import()` needs it;
 * nothing that runs afterwards does. Grants for other paths, narrower ones within these folders too, stay.
 */
export async function sealCode(folders: readonly string[]): Promise<void> {
  for (const path of folders) await Deno.permissions.revoke({ name: "read", path });
}
