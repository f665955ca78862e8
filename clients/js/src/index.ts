export type { Auth, Options } from "./api.js";
export { createAuth } from "./client.js";
export { AuthError, type Problem } from "./errors.js";
export type { Claims, Session } from "./session.js";
