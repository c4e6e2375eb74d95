/**
 * The text of `schema.sql`: tables and triggers; running it twice is harmless. It is part of the module graph, so
 * reading it takes no permission, and a compiled binary has it.
 */
export { default as SCHEMA } from "./schema.sql" with { type: "text" };

/** What the triggers of the schema notify on, and nothing else does. Its notices have no payload. */
export const ACCESS_CHANNEL = "postern_access";
