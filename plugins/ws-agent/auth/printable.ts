/**
 * Text from outside as it may be shown: on one line, nothing in it that a terminal would obey, and not too long.
 *
 * @param maxLength In UTF-16 units.
 */
export function printable(text: string, maxLength: number): string {
  const cut = text.length > maxLength ? `${text.slice(0, maxLength - 1)}…` : text;
  return cut.toWellFormed().replaceAll(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]+/gu, "\ufffd");
}

/** Longer names of parties are nobody's; they stand in every log line. */
const MAX_NAME_LENGTH = 256;

/** Whether this may be the name of a party: it is shown, and compared, as it stands. */
export function isPartyName(value: unknown): value is string {
  return typeof value === "string" && value !== "" && value.length <= MAX_NAME_LENGTH &&
    value === printable(value, MAX_NAME_LENGTH);
}
