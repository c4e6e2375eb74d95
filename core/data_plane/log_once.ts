/** Subjects remembered, and so lines a minute: strangers choose the names, and must not fill the log with them. */
const MAX_SUBJECTS = 1024;
const MINUTE_MS = 60_000;

/** Lets one line a minute through for each subject, and no new subject while too many are fresh. */
export class LogOnce {
  /** Subject → when it was written, oldest first. */
  readonly #last = new Map<string, number>();

  /** Whether to write about this subject now. */
  may(subject: string): boolean {
    const now = performance.now();
    this.#forgetBefore(now - MINUTE_MS);
    if (this.#last.has(subject) || this.#last.size >= MAX_SUBJECTS) return false;
    this.#last.set(subject, now);
    return true;
  }

  #forgetBefore(time: number): void {
    for (const [subject, last] of this.#last) {
      if (last > time) return;
      this.#last.delete(subject);
    }
  }
}
