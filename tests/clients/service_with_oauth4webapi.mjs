// A service that gets tokens, checks, introspects and revokes them with npm `oauth4webapi`.
// Standard input: {issuer, resource, client_id, secret | jwk, method, introspector: {client_id, secret}}.
// Prints what each step came to.
import { readFileSync } from "node:fs";
import * as oauth from "oauth4webapi";

const given = JSON.parse(readFileSync(0, "utf8"));
const http = { [oauth.allowInsecureRequests]: true }; // the tests' service is on this machine
const ALGORITHMS = {
  RS256: { name: "RSASSA-PKCS1-v1_5", hash: "SHA-256" },
  PS256: { name: "RSA-PSS", hash: "SHA-256" },
  ES256: { name: "ECDSA", namedCurve: "P-256" },
  EdDSA: { name: "Ed25519" },
};

async function authentication() {
  if (given.method === "client_secret_basic") return oauth.ClientSecretBasic(given.secret);
  if (given.method === "client_secret_post") return oauth.ClientSecretPost(given.secret);
  const { alg, ...jwk } = given.jwk;
  const key = await crypto.subtle.importKey("jwk", jwk, ALGORITHMS[alg], false, ["sign"]);
  return oauth.PrivateKeyJwt({ key, kid: jwk.kid });
}

const issuer = new URL(given.issuer);
const as = await oauth.processDiscoveryResponse(
  issuer,
  await oauth.discoveryRequest(issuer, { algorithm: "oauth2", ...http }),
);
const client = { client_id: given.client_id };
const grant = async (auth, parameters) =>
  oauth.processClientCredentialsResponse(
    as,
    client,
    await oauth.clientCredentialsGrantRequest(as, client, auth, parameters, http),
  );
const introspector = { client_id: given.introspector.client_id };
const introspect = async (token) =>
  oauth.processIntrospectionResponse(
    as,
    introspector,
    await oauth.introspectionRequest(
      as,
      introspector,
      oauth.ClientSecretBasic(given.introspector.secret),
      token,
      http,
    ),
  );
// What the library makes of a refusal.
const refused = (promise) =>
  promise.then(
    () => "accepted",
    ({ constructor, error, status, cause }) => [constructor.name, error ?? cause?.[0]?.scheme, status],
  );

const tokens = await grant(await authentication(), { resource: given.resource, scope: "orders:read" });
const request = new Request("https://orders.example.com/", {
  headers: { authorization: `Bearer ${tokens.access_token}` },
});
const claims = await oauth.validateJwtAccessToken(as, request, given.resource, {
  signingAlgorithms: ["RS256"],
  ...http,
});
const before = await introspect(tokens.access_token);
await oauth.processRevocationResponse(
  await oauth.revocationRequest(as, client, await authentication(), tokens.access_token, http),
);
const after = await introspect(tokens.access_token);
const auth = await authentication();
console.log(
  JSON.stringify({
    token_type: tokens.token_type,
    expires_in: tokens.expires_in,
    scope: tokens.scope,
    claims,
    before,
    after,
    for_another: await refused(
      oauth.validateJwtAccessToken(as, request, "https://billing.example.com", http),
    ),
    foreign_scope: await refused(grant(auth, { scope: "admin" })),
    foreign_resource: await refused(grant(auth, { resource: "https://billing.example.com" })),
    wrong_secret: await refused(grant(oauth.ClientSecretPost("wrong"), {})),
  }),
);
