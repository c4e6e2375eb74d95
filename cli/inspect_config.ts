import type { ConfigProblem } from "../core/config/problem.ts";
import { problemAt, sortProblems } from "../core/config/problem.ts";
import type { ConfigResult } from "../core/config/parse_config.ts";
import { createLog, type LogFields } from "../core/log.ts";
import { warnOfContradictions } from "../core/supervisor/contradictions.ts";
import { warnOfMissingCertificates } from "../core/supervisor/missing_certificates.ts";
import { prepare } from "../core/supervisor/prepare.ts";
import type { Prepared } from "../core/supervisor/supervisor.ts";
import { inspectCertificates } from "../core/tls/certificates.ts";
import { type ConfigOptions, parseOptions } from "./config_options.ts";
import { makesItsCertificates } from "./development_certificates.ts";
import { DEVELOPMENT_FOLDER, ensureDevelopmentToken } from "./development_token.ts";

/** What is sound and hardly meant: a word, and what there is to know. */
export interface ConfigWarning {
  readonly event: string;
  readonly fields: LogFields;
}

/** Everything that can be known of a config without starting anything. */
export interface InspectedConfig {
  /** All that keeps a gateway from running with it, in the order of the file. */
  readonly problems: readonly ConfigProblem[];
  readonly warnings: readonly ConfigWarning[];
  /** Absent when there are problems. */
  readonly prepared?: Prepared;
}

/** Reads the config as a gateway would, and what it names, and goes on past what is wrong to find all of it. */
export async function inspectConfig(
  options: ConfigOptions,
  file: string | undefined,
): Promise<InspectedConfig> {
  if (file === undefined) await ensureDevelopmentToken(DEVELOPMENT_FOLDER);
  const parsed = await parseOptions(options, file);
  if (!parsed.ok) return { problems: parsed.problems, warnings: [] };
  const warnings: ConfigWarning[] = [];
  const log = createLog("check", "warn", ({ event, fields }) => void warnings.push({ event, fields }));
  const preparation = await prepare(parsed);
  const own = makesItsCertificates(parsed.config, file);
  const { certificates, faults } = own
    ? { certificates: [], faults: [] }
    : await inspectCertificates(parsed.config.tls.certificates, log);
  const problems = sortProblems([
    ...(preparation.ok ? [] : preparation.problems),
    ...faults.map(({ index, fault }) => certificateProblem(parsed, index, fault.file, fault.message)),
  ]);
  if (!preparation.ok || problems.length > 0) return { problems, warnings };
  const { prepared } = preparation;
  const { challenges } = prepared.config.tls.acme ?? {};
  if (!own) warnOfMissingCertificates(prepared.plugins, certificates, log, challenges);
  warnOfContradictions(prepared.plugins, prepared.config, log);
  return { problems, warnings, prepared };
}

function certificateProblem(
  { locate }: Extract<ConfigResult, { ok: true }>,
  index: number,
  file: "cert" | "key",
  message: string,
): ConfigProblem {
  const path = ["tls", "certificates", index, file];
  return problemAt(locate(path, "value"), path, message);
}
