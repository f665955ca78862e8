export type { Account, SessionEntry, Sessions } from "./account.js";
export type { Auth, Listener, Options, Reason } from "./api.js";
export { createAuth } from "./client.js";
export { AuthError, type Problem } from "./errors.js";
export type { Claims, Session } from "./session.js";
