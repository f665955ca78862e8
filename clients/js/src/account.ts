import { ask, json, post, refusal, type Answer } from "./transport.js";

/** An account, in the service's words. */
export interface Account {
  readonly id: string;
  readonly email: string;
  readonly roles: readonly string[];
  /** RFC 3339. */
  readonly created_at: string;
}

/** One login on one device. */
export interface SessionEntry {
  readonly id: string;
  /** Whether it is this page's. */
  readonly current: boolean;
  readonly created_at: string;
  readonly last_used_at: string;
  readonly ip: string;
  readonly user_agent: string;
  readonly delivery: "spa" | "web" | "native";
}

export interface Sessions {
  readonly sessions: readonly SessionEntry[];
  /** For `auth.sessions(next)`; null at the end. */
  readonly next: string | null;
}

/** The calls about the account; `authorized` is `fetch` with the access token. */
export function accountAt(service: string, authorized: typeof fetch) {
  const call = (method: string, path: string, body?: unknown): Promise<Answer> =>
    ask(service + path, { method, ...json({}, body) }, undefined, authorized);
  return {
    register: async (email: string, password: string) =>
      read<Account>(await post(`${service}/auth/register`, {}, { email, password })),
    me: async () => read<Account>(await call("GET", "/auth/me")),
    changePassword: async (current_password: string, new_password: string) =>
      done(await call("POST", "/auth/password/change", { current_password, new_password })),
    sessions: async (next?: string) =>
      read<Sessions>(await call("GET", `/auth/sessions${next ? `?cursor=${encodeURIComponent(next)}` : ""}`)),
    endSession: async (id: string) =>
      done(await call("DELETE", `/auth/sessions/${encodeURIComponent(id)}`)),
  };
}

function read<T>(answer: Answer): T {
  if (answer.status >= 300 || !answer.body) throw refusal(answer);
  return answer.body as T;
}

function done(answer: Answer): void {
  if (answer.status !== 204) throw refusal(answer);
}
