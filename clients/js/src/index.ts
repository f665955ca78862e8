export { createAuth, type Auth, type Options } from "./client.js";
export { AuthError, type Problem } from "./errors.js";
export type { Claims, Session } from "./session.js";
