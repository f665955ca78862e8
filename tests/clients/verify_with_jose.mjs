// Verify the token on standard input with npm `jose`: ORIGIN AUDIENCE. Prints the claims.
import { readFileSync } from "node:fs";
import { createRemoteJWKSet, jwtVerify } from "jose";

const [origin, audience] = process.argv.slice(2);
const keys = createRemoteJWKSet(new URL("/.well-known/jwks.json", origin));
try {
  const { payload } = await jwtVerify(readFileSync(0, "utf8"), keys, {
    issuer: origin,
    audience,
    typ: "at+jwt",
    algorithms: ["RS256"],
    requiredClaims: ["exp", "iat", "sub", "jti", "sid", "client_id"],
  });
  console.log(JSON.stringify(payload));
} catch (error) {
  console.error(error.code ?? error);
  process.exit(1);
}
