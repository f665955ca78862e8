import { AuthError } from "./errors.js";
import { sessionOf, type Token } from "./session.js";

interface Tokens {
  /** One to send now; null if nobody is logged in. */
  usable(): Promise<Token | null>;
  /** A newer one than that, if there is one to be had. */
  replace(token: Token): Promise<Token | null>;
}

/** `fetch` with an access token, to these origins and no others; after a 401 once more. */
export function authorizedFetch(origins: Set<string>, tokens: Tokens): typeof globalThis.fetch {
  const send = (request: Request, token: Token | null): Promise<Response> => {
    if (token) request.headers.set("Authorization", `Bearer ${token.text}`);
    return fetch(request);
  };
  return async (input, init) => {
    const request = new Request(input, init);
    const { origin } = new URL(request.url);
    if (!origins.has(origin)) {
      throw new AuthError("origin_not_listed", `List ${origin} in \`origins\` to send it the access token.`);
    }
    const first = await tokens.usable();
    const answer = await send(request.clone(), first);
    if (answer.status !== 401 || !first) return answer;
    const second = await tokens.replace(first);
    // What one session asked for is not asked again in the name of another.
    if (!second || second === first || sidOf(second) !== sidOf(first)) return answer;
    void answer.body?.cancel();
    return send(request, second);
  };
}

const sidOf = (token: Token): string => sessionOf(token).sessionId;
