/**
 * The library that makes and reads X.509 certificates. It is large, so it is loaded when it is needed, and it finds
 * its parts by metadata of classes, for which the polyfill must be there first.
 */
export async function loadX509(): Promise<typeof import("@peculiar/x509")> {
  await import("reflect-metadata");
  return await import("@peculiar/x509");
}
