/** Looks up an environment variable. */
export type EnvLookup = (name: string) => string | undefined;

export type Expanded =
  | { readonly ok: true; readonly text: string }
  | { readonly ok: false; readonly messages: readonly string[] };

/** `$${`, or `${NAME}`, or `${NAME:-default}`, or a `${` that is none of them. */
const REFERENCE = /\$\$\{|\$\{(?:([A-Za-z_]\w*)(?::-((?:(?!\$\{)[^}])*))?\})?/g;

/**
 * Fills in `${NAME}` and `${NAME:-default}`; `$${` stands for a literal `${`. As in a shell, the default also
 * replaces an empty value. Without a default, an empty value is as wrong as a missing one: an empty token must not
 * switch a check off unnoticed. What was filled in is not looked at again.
 */
export function expandEnv(text: string, env: EnvLookup): Expanded {
  const messages: string[] = [];
  const expanded = text.replaceAll(REFERENCE, (reference, name?: string, fallback?: string) => {
    if (reference === "$${") return "${";
    if (name === undefined) {
      messages.push('Malformed variable; write ${NAME} or ${NAME:-default}, or "$${" for a literal "${"');
      return "";
    }
    const value = env(name) || fallback;
    if (value !== undefined) return value;
    const state = env(name) === "" ? "empty" : "not set";
    messages.push(`Environment variable ${name} is ${state}; set it, or write \${${name}:-default}`);
    return "";
  });
  return messages.length === 0
    ? { ok: true, text: expanded }
    : { ok: false, messages: [...new Set(messages)] };
}
