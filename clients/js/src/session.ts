import { AuthError } from "./errors.js";
import type { Answer } from "./transport.js";

/** The token answer of `POST /auth/login` and `/auth/refresh`, `spa` delivery. */
export interface TokenAnswer {
  readonly access_token: string;
  /** Seconds. */
  readonly expires_in: number;
  readonly session_id: string;
}

/** The claims of an access token (RFC 9068). Not verified here: for showing, not for deciding. */
export interface Claims {
  readonly iss: string;
  readonly sub: string;
  readonly aud: string | readonly string[];
  readonly exp: number;
  readonly iat: number;
  readonly jti: string;
  readonly sid: string;
  readonly client_id: string;
  readonly roles?: readonly string[];
  readonly scope?: string;
  readonly [claim: string]: unknown;
}

/** Who is logged in. */
export interface Session {
  readonly userId: string;
  readonly sessionId: string;
  readonly roles: readonly string[];
  readonly claims: Claims;
  /** When the access token ends, by this device's clock. It is replaced long before. */
  readonly expiresAt: Date;
}

/** An access token as the tabs hand it to each other; moments are milliseconds of this device's clock. */
export interface Token {
  readonly text: string;
  readonly from: number;
  readonly until: number;
}

/** A complete token answer, or null: half an answer is none. */
export const tokensIn = ({ status, body }: Answer): TokenAnswer | null =>
  status === 200 && typeof body?.access_token === "string" ? (body as unknown as TokenAnswer) : null;

/** Share of an access token's life after which it is replaced. */
const RENEW_AT = 0.8;

export const dueAt = (token: Token): number => token.from + RENEW_AT * (token.until - token.from);

/** Read a token's claims; `unexpected_answer` where it is not a JWT. */
export function sessionOf(token: Token): Session {
  try {
    const payload = token.text.split(".")[1]!.replace(/-/g, "+").replace(/_/g, "/");
    const bytes = Uint8Array.from(atob(payload), (character) => character.charCodeAt(0));
    const claims = JSON.parse(new TextDecoder().decode(bytes)) as Claims;
    return {
      userId: claims.sub,
      sessionId: claims.sid,
      roles: claims.roles ?? [],
      claims,
      expiresAt: new Date(token.until),
    };
  } catch {
    throw new AuthError("unexpected_answer", "The access token is not a JWT, so it is not authsvc's.");
  }
}
