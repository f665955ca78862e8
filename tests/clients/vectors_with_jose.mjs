// Run the vectors with the Node.js snippet of docs/protect-a-service.md: SNIPPET VECTORS.
// Prints, for each token, the names of those that were accepted and the code of each refusal.
import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";
import { createLocalJWKSet } from "jose";

const [snippet, vectors] = process.argv.slice(2);
const { verify } = await import(pathToFileURL(snippet));
const { now, issuer, audience, jwks, valid, invalid } = JSON.parse(readFileSync(vectors, "utf8"));
const keys = createLocalJWKSet(jwks);
const accepted = {}, refused = {};
for (const { name, token } of [...valid, ...invalid]) {
  try {
    accepted[name] = await verify(token, { keys, issuer, audience, now: new Date(now * 1000) });
  } catch (error) {
    refused[name] = error.code ?? `a defect: ${error.stack}`;
  }
}
console.log(JSON.stringify({ accepted, refused }));
