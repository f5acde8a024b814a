// OAuth clients with people: oauth4webapi and openid-client, from the authorization endpoint to UserInfo.
import * as oauth from "oauth4webapi";
import * as openid from "openid-client";
import { CALLBACK, send } from "./people.mjs";
import { check, context, finish, must, version } from "./report.mjs";

const issuer = new URL(context.issuer);
const here = { [oauth.allowInsecureRequests]: true };
const { mcp } = context;

async function importKey(name) {
  const der = Buffer.from(context.keys[name].replace(/-----[^-]+-----|\s/g, ""), "base64");
  return crypto.subtle.importKey("pkcs8", der, { name: "ECDSA", namedCurve: "P-256" }, false, ["sign"]);
}

// First: sign-in at the provider, for each way in which Chancery proves itself there.
for (const label of context.providers) {
  await check(`oidc-provider ${version("oidc-provider")} as the company's provider, Chancery proves itself by ${label}`, async () => {
    const query = new URLSearchParams({
      url: `${context.issuer}/sign-in?prompt=login&return_to=/me/agents`,
      who: `person-${label}`,
      through: label,
    });
    const said = await (await fetch(`${context.person}/?${query}`)).json();
    must(said.stopped === `${context.issuer}/me/agents` && said.status === 200, said);
    must(said.words.includes(`person-${label}`), said.words);
  });
}

const first = `oauth4webapi ${version("oauth4webapi")}`;
const WAYS = {
  "public-app": () => oauth.None(),
  "basic-app": (secret) => oauth.ClientSecretBasic(secret),
  "post-app": (secret) => oauth.ClientSecretPost(secret),
  "key-app": async () => oauth.PrivateKeyJwt({ key: await importKey("key-app"), kid: "key-app" }),
};
const as = await oauth.processDiscoveryResponse(issuer, await oauth.discoveryRequest(issuer, { algorithm: "oauth2", ...here }));

async function ask(client, more) {
  const verifier = oauth.generateRandomCodeVerifier();
  const state = oauth.generateRandomState();
  const url = new URL(as.authorization_endpoint);
  const parameters = {
    client_id: client.client_id,
    redirect_uri: CALLBACK,
    response_type: "code",
    code_challenge: await oauth.calculatePKCECodeChallenge(verifier),
    code_challenge_method: "S256",
    state,
    ...more,
  };
  for (const [name, value] of Object.entries(parameters)) url.searchParams.set(name, value);
  return { url, state, verifier };
}

for (const [name, way] of Object.entries(WAYS)) {
  const { id, secret } = context.clients[name];
  const client = { client_id: id };
  let answer;
  await check(`${first}, ${name}: code with PKCE, one of two scopes taken away`, async () => {
    const auth = await way(secret);
    const { url, state, verifier } = await ask(client, { resource: mcp, scope: "read write offline_access" });
    const back = await send(url, { take: "write" });
    const checked = oauth.validateAuthResponse(as, client, back, state);
    const response = await oauth.authorizationCodeGrantRequest(as, client, auth, checked, CALLBACK, verifier, here);
    answer = await oauth.processAuthorizationCodeResponse(as, client, response);
    must(answer.scope.split(" ").includes("read") && !answer.scope.includes("write"), answer.scope);
    must(answer.refresh_token, Object.keys(answer));
    return answer.scope;
  });
  await check(`${first}, ${name}: the token opens the resource`, async () => {
    const headers = { "content-type": "application/json", accept: "application/json, text/event-stream" };
    const body = JSON.stringify({
      jsonrpc: "2.0",
      id: 1,
      method: "initialize",
      params: { protocolVersion: "2025-11-25", capabilities: {}, clientInfo: { name: "x", version: "1" } },
    });
    const response = await oauth.protectedResourceRequest(answer.access_token, "POST", new URL(mcp), new Headers(headers), body, here);
    must(response.status === 200, response.status, await response.text());
  });
  await check(`${first}, ${name}: refresh, and again`, async () => {
    for (let times = 0; times < 2; times += 1) {
      const auth = await way(secret);
      const response = await oauth.refreshTokenGrantRequest(as, client, auth, answer.refresh_token, { ...here, additionalParameters: { resource: mcp } });
      const next = await oauth.processRefreshTokenResponse(as, client, response);
      answer = { ...answer, ...next };
    }
  });
  await check(`${first}, ${name}: revoked, a refresh token is invalid_grant`, async () => {
    const auth = await way(secret);
    const revoked = await oauth.revocationRequest(as, client, auth, answer.refresh_token, here);
    await oauth.processRevocationResponse(revoked);
    const response = await oauth.refreshTokenGrantRequest(as, client, await way(secret), answer.refresh_token, here);
    const error = await oauth.processRefreshTokenResponse(as, client, response).catch((error) => error);
    must(error.error === "invalid_grant", error);
  });
}
await check(`${first}: who signed in (ID token, nonce, UserInfo)`, async () => {
  const { id, secret } = context.clients["basic-app"];
  const client = { client_id: id };
  const nonce = oauth.generateRandomNonce();
  const { url, state, verifier } = await ask(client, { scope: "openid profile email", nonce });
  const back = await send(url);
  const checked = oauth.validateAuthResponse(as, client, back, state);
  const auth = oauth.ClientSecretBasic(secret);
  const response = await oauth.authorizationCodeGrantRequest(as, client, auth, checked, CALLBACK, verifier, here);
  const options = { expectedNonce: nonce, requireIdToken: true };
  const answer = await oauth.processAuthorizationCodeResponse(as, client, response, options);
  await oauth.validateApplicationLevelSignature(as, response, here);
  const claims = oauth.getValidatedIdTokenClaims(answer);
  const info = await oauth.userInfoRequest(as, client, answer.access_token, here);
  const user = await oauth.processUserInfoResponse(as, client, claims.sub, info);
  must(user.name === "alice of the company" && user.email === "alice@company.example", user);
});
await check(`${first}: a code is good once`, async () => {
  const { id } = context.clients["public-app"];
  const client = { client_id: id };
  const { url, state, verifier } = await ask(client, { resource: mcp, scope: "read" });
  const checked = oauth.validateAuthResponse(as, client, await send(url), state);
  const redeem = () => oauth.authorizationCodeGrantRequest(as, client, oauth.None(), checked, CALLBACK, verifier, here);
  await oauth.processAuthorizationCodeResponse(as, client, await redeem());
  const error = await oauth.processAuthorizationCodeResponse(as, client, await redeem()).catch((error) => error);
  must(error.error === "invalid_grant", error);
});
await check(`${first}: a no is access_denied, with iss and state`, async () => {
  const client = { client_id: context.clients["public-app"].id };
  const { url, state } = await ask(client, { resource: mcp, scope: "read write", prompt: "consent" });
  const back = await send(url, { answer: "Deny" });
  try {
    oauth.validateAuthResponse(as, client, back, state);
  } catch (error) {
    must(error.error === "access_denied", error);
    return error.error;
  }
  throw new Error("it was accepted");
});
await check(`${first}: prompt=none without a sign-in is login_required`, async () => {
  const client = { client_id: context.clients["public-app"].id };
  const { url, state } = await ask(client, { resource: mcp, scope: "read", prompt: "none" });
  const back = await send(url, { who: "nobody yet" });
  try {
    oauth.validateAuthResponse(as, client, back, state);
  } catch (error) {
    must(error.error === "login_required", error);
    return error.error;
  }
  throw new Error("it was accepted");
});
await check(`${first}: registers itself, manages and deletes the registration (RFC 7591, 7592)`, async () => {
  const metadata = { client_name: "Registered", redirect_uris: [CALLBACK], token_endpoint_auth_method: "none" };
  const made = await oauth.processDynamicClientRegistrationResponse(await oauth.dynamicClientRegistrationRequest(as, metadata, here));
  const authorization = `Bearer ${made.registration_access_token}`;
  const read = await fetch(made.registration_client_uri, { headers: { authorization } });
  must(read.status === 200 && (await read.json()).client_id === made.client_id, read.status);
  const gone = await fetch(made.registration_client_uri, { method: "DELETE", headers: { authorization } });
  must(gone.status === 204, gone.status);
});

const second = `openid-client ${version("openid-client")}`;
const allow = { execute: [openid.allowInsecureRequests] };
let config;
await check(`${second}: discovery`, async () => {
  const { id, secret } = context.clients["basic-app"];
  config = await openid.discovery(issuer, id, undefined, openid.ClientSecretBasic(secret), allow);
});
let subject;
await check(`${second}: code, PKCE, nonce, max_age; UserInfo and refresh`, async () => {
  const pkceCodeVerifier = openid.randomPKCECodeVerifier();
  const [expectedState, expectedNonce] = [openid.randomState(), openid.randomNonce()];
  const url = openid.buildAuthorizationUrl(config, {
    redirect_uri: CALLBACK,
    scope: "openid profile email offline_access",
    code_challenge: await openid.calculatePKCECodeChallenge(pkceCodeVerifier),
    code_challenge_method: "S256",
    state: expectedState,
    nonce: expectedNonce,
    max_age: "3600",
  });
  const back = await send(url);
  const checks = { pkceCodeVerifier, expectedState, expectedNonce, maxAge: 3600, idTokenExpected: true };
  const tokens = await openid.authorizationCodeGrant(config, back, checks);
  subject = tokens.claims().sub;
  const user = await openid.fetchUserInfo(config, tokens.access_token, subject);
  must(user.name === "alice of the company", user);
  const next = await openid.refreshTokenGrant(config, tokens.refresh_token);
  must(next.access_token && next.access_token !== tokens.access_token, Object.keys(next));
});
for (const [answer, wanted] of [["Allow", "read"], ["Deny", "access_denied"]]) {
  await check(`${second}: device authorization (RFC 8628), the person says: ${answer}`, async () => {
    const device = await openid.discovery(issuer, context.clients["device-app"].id, undefined, openid.None(), allow);
    const asked = await openid.initiateDeviceAuthorization(device, { scope: "read write", resource: mcp });
    const polled = openid.pollDeviceAuthorizationGrant(device, asked, { resource: mcp });
    const query = new URLSearchParams({
      url: asked.verification_uri_complete, who: "alice", through: context.provider, take: "write", answer,
    });
    const said = await (await fetch(`${context.person}/?${query}`)).json();
    const outcome = await polled.then(({ scope }) => scope, ({ error }) => error);
    must(outcome === wanted, outcome, said);
    return outcome;
  });
}
for (const action of ["allow", "deny"]) {
  await check(`${second}: backchannel authentication (CIBA, poll), decision URL of test mode: ${action}`, async () => {
    const { id, secret } = context.clients["ciba-app"];
    const ciba = await openid.discovery(issuer, id, undefined, openid.ClientSecretBasic(secret), allow);
    const asked = await openid.initiateBackchannelAuthentication(ciba, {
      scope: "openid read",
      resource: mcp,
      login_hint: subject,
      binding_message: `W4SCT ${action}`,
    });
    const polled = openid.pollBackchannelAuthenticationGrant(ciba, asked);
    const decision = `${context.issuer}/test/ciba?auth_req_id=${asked.auth_req_id}&action=${action}`;
    const decided = await fetch(decision, { method: "POST" });
    must(decided.status === 204, decided.status, await decided.text());
    const outcome = await polled.then(({ scope }) => scope, ({ error }) => error);
    must(outcome === (action === "allow" ? "openid read" : "access_denied"), outcome);
    return outcome;
  });
}
finish();
