const STAR = "*";

/**
 * Whether a name is of the form of a pattern, in which each `*` stands for any number of characters, none too.
 *
 * Takes time in proportion to the product of both lengths at worst, whatever the pattern.
 */
export function matchesGlob(pattern: string, name: string): boolean {
  let at = 0, star = -1, taken = 0; // the last star, and where what it stands for ends so far
  for (let i = 0; i < name.length;) {
    if (pattern[at] === STAR) {
      star = at++;
      taken = i;
    } else if (at < pattern.length && pattern[at] === name[i]) {
      at++;
      i++;
    } else if (star >= 0) {
      at = star + 1;
      i = ++taken;
    } else {
      return false;
    }
  }
  while (pattern[at] === STAR) at++;
  return at === pattern.length;
}
