// oauth4webapi, a strict client library: discovery, grants, token exchange, introspection, revocation.
import { SignJWT, importPKCS8 } from "jose";
import * as oauth from "oauth4webapi";
import { check, context, finish, must, version } from "./report.mjs";

const name = `oauth4webapi ${version("oauth4webapi")}`;
const issuer = new URL(context.issuer);
// The library refuses plain http unless told that this is a test on one machine.
const here = { [oauth.allowInsecureRequests]: true };
const elsewhere = "https://elsewhere.example/api";

async function discover(algorithm) {
  const response = await oauth.discoveryRequest(issuer, { algorithm, ...here });
  // A URL always has a path, an issuer need not have one: the library knows and compares accordingly.
  return oauth.processDiscoveryResponse(issuer, response);
}

const secretOf = (method) => {
  const { id, secret } = context.clients[method.replaceAll("_", "-")];
  return [{ client_id: id }, secret];
};

async function clientCredentials(as, client, auth, parameters) {
  const response = await oauth.clientCredentialsGrantRequest(as, client, auth, parameters, here);
  const answer = await oauth.processClientCredentialsResponse(as, client, response);
  must(answer.token_type === "bearer" && answer.expires_in === 300, answer);
  return answer;
}

async function exchange(as, parameters) {
  const [client, secret] = secretOf("client_secret_post");
  const grant = "urn:ietf:params:oauth:grant-type:token-exchange";
  const auth = oauth.ClientSecretPost(secret);
  const response = await oauth.genericTokenEndpointRequest(as, client, auth, grant, parameters, here);
  const answer = await oauth.processGenericTokenEndpointResponse(as, client, response);
  must(answer.issued_token_type === "urn:ietf:params:oauth:token-type:access_token", answer);
  return answer;
}

async function idToken() {
  const key = await importPKCS8(context.keys.person, "ES256");
  return new SignJWT({ roles: ["editor"], name: "Alice" })
    .setProtectedHeader({ alg: "ES256", kid: "person", typ: "JWT" })
    .setIssuer("https://idp.example")
    .setSubject("alice")
    .setAudience(context.issuer)
    .setIssuedAt()
    .setExpirationTime("5m")
    .sign(key);
}

// The company's word for alice: an assertion (RFC 7523), or an identity assertion (ID-JAG).
async function assertion(typ, claims) {
  const key = await importPKCS8(context.keys.person, "ES256");
  return new SignJWT({ roles: ["editor"], ...claims })
    .setProtectedHeader({ alg: "ES256", kid: "person", typ })
    .setIssuer("https://idp.example")
    .setSubject("alice")
    .setAudience(context.issuer)
    .setJti(crypto.randomUUID())
    .setIssuedAt()
    .setExpirationTime("5m")
    .sign(key);
}

async function bring(as, parameters) {
  const [client, secret] = secretOf("client_secret_basic");
  const grant = "urn:ietf:params:oauth:grant-type:jwt-bearer";
  const auth = oauth.ClientSecretBasic(secret);
  const response = await oauth.genericTokenEndpointRequest(as, client, auth, grant, parameters, here);
  return oauth.processGenericTokenEndpointResponse(as, client, response);
}

async function isRefused(work) {
  try {
    await work();
  } catch (error) {
    must(error instanceof oauth.ResponseBodyError && error.error === "invalid_grant", error.name, error.error);
    return;
  }
  throw new Error("it was accepted");
}

async function introspect(as, token) {
  const [client, secret] = secretOf("client_secret_basic");
  const auth = oauth.ClientSecretBasic(secret);
  const response = await oauth.introspectionRequest(as, client, auth, token, here);
  return oauth.processIntrospectionResponse(as, client, response);
}

let as;
for (const algorithm of ["oauth2", "oidc"]) {
  await check(`${name}: discovery, ${algorithm}`, async () => {
    as = await discover(algorithm);
    must(as.token_endpoint && as.jwks_uri && as.introspection_endpoint && as.revocation_endpoint, as);
  });
}
for (const [method, auth] of [["client_secret_basic", oauth.ClientSecretBasic], ["client_secret_post", oauth.ClientSecretPost]]) {
  await check(`${name}: client credentials, ${method}`, async () => {
    const [client, secret] = secretOf(method);
    const answer = await clientCredentials(as, client, auth(secret), { resource: elsewhere });
    must(answer.scope === "read", answer);
  });
}
for (const algorithm of ["ES256", "RS256", "EdDSA"]) {
  await check(`${name}: client credentials, private_key_jwt ${algorithm}`, async () => {
    const client = `key-${algorithm.toLowerCase()}`;
    const kinds = {
      ES256: { name: "ECDSA", namedCurve: "P-256" },
      RS256: { name: "RSASSA-PKCS1-v1_5", hash: "SHA-256" },
      EdDSA: { name: "Ed25519" },
    };
    const der = Buffer.from(context.keys[client].replace(/-----[^-]+-----|\s/g, ""), "base64");
    const key = await crypto.subtle.importKey("pkcs8", der, kinds[algorithm], false, ["sign"]);
    const auth = oauth.PrivateKeyJwt({ key, kid: client });
    await clientCredentials(as, { client_id: context.clients[client].id }, auth, { resource: elsewhere });
  });
}
await check(`${name}: a wrong secret is invalid_client`, async () => {
  const [client] = secretOf("client_secret_basic");
  const auth = oauth.ClientSecretBasic("wrong");
  const response = await oauth.clientCredentialsGrantRequest(as, client, auth, { resource: elsewhere }, here);
  try {
    await oauth.processClientCredentialsResponse(as, client, response);
  } catch (error) {
    const challenged = error instanceof oauth.WWWAuthenticateChallengeError && error.status === 401;
    const named = error instanceof oauth.ResponseBodyError && error.error === "invalid_client";
    must(challenged || named, error.name, error.error);
    return error.name;
  }
  throw new Error("it was accepted");
});
let exchanged;
await check(`${name}: token exchange of a person's id_token`, async () => {
  exchanged = await exchange(as, {
    subject_token: await idToken(),
    subject_token_type: "urn:ietf:params:oauth:token-type:id_token",
    resource: elsewhere,
    scope: "read write",
  });
  must(exchanged.scope === "read write", exchanged);
});
await check(`${name}: token exchange to a narrower token`, async () => {
  const narrower = await exchange(as, {
    subject_token: exchanged.access_token,
    subject_token_type: "urn:ietf:params:oauth:token-type:access_token",
    resource: elsewhere,
    scope: "read",
  });
  must(narrower.scope === "read", narrower);
});
await check(`${name}: JWT bearer (RFC 7523), once`, async () => {
  const once = { assertion: await assertion("JWT"), resource: elsewhere, scope: "read write" };
  const answer = await bring(as, once);
  must(answer.scope === "read write" && !answer.refresh_token, answer);
  await isRefused(() => bring(as, once));
});
await check(`${name}: identity assertion (ID-JAG), for its own client`, async () => {
  const [{ client_id }] = secretOf("client_secret_basic");
  const where = { resource: elsewhere, scope: "read" };
  const answer = await bring(as, { assertion: await assertion("oauth-id-jag+jwt", { client_id, ...where }) });
  must(answer.scope === "read" && !answer.refresh_token, answer);
  const [other] = secretOf("client_secret_post");
  await isRefused(async () => bring(as, { assertion: await assertion("oauth-id-jag+jwt", { ...other, ...where }) }));
});
await check(`${name}: introspection`, async () => {
  const answer = await introspect(as, exchanged.access_token);
  must(answer.active && answer.aud === elsewhere && answer.act?.sub, answer);
});
await check(`${name}: verification as a resource server (RFC 9068)`, async () => {
  const request = new Request(elsewhere, { headers: { authorization: `Bearer ${exchanged.access_token}` } });
  const claims = await oauth.validateJwtAccessToken(as, request, elsewhere, here);
  must(claims.client_id === secretOf("client_secret_post")[0].client_id, claims);
});
await check(`${name}: revocation, and inactive afterwards`, async () => {
  const [client, secret] = secretOf("client_secret_post");
  const auth = oauth.ClientSecretPost(secret);
  const response = await oauth.revocationRequest(as, client, auth, exchanged.access_token, here);
  await oauth.processRevocationResponse(response);
  const answer = await introspect(as, exchanged.access_token);
  must(answer.active === false, answer);
});
finish();
