/** The runtime's CAs in PEM, where this thread may not ask for them itself. */
let runtimeCas: string | undefined;

/** For a worker that may not ask the runtime for its CAs: tells what they are. */
export function lendRuntimeCas(pem: string | undefined): void {
  runtimeCas = pem;
}

/** What to give `connectTls`, so that CAs count beside those of the runtime. */
export function trusting(
  extraCa: string | undefined,
): { readonly ca: string } | { readonly extraCa: string } | Record<never, never> {
  if (extraCa === undefined) return {};
  return runtimeCas === undefined ? { extraCa } : { ca: `${runtimeCas}\n${extraCa}` };
}
