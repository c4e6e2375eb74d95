/**
 * Temporary local access to private services, as a library.
 *
 * @module
 */
export type { AccessEnd, AccessEvent, AccessSessionInfo, AccessState } from "./events.ts";
export { AccessManager, type AccessManagerOptions, type StartAccess } from "./manager.ts";
export { AccessRefused } from "./session.ts";
