// A company's identity provider: npm oidc-provider, one for each way in which Chancery can prove itself there; and the
// provider whose accounts people connect. Arguments: Chancery's issuer, then `method=port` for each.
import Provider from "oidc-provider";

const GRANTS = ["authorization_code", "refresh_token"];
const [issuer, ...wanted] = process.argv.slice(2);
for (const [method, port] of wanted.map((pair) => pair.split("="))) {
  const client = {
    client_id: "chancery",
    redirect_uris: [`${issuer}/sign-in/callback`],
    token_endpoint_auth_method: method,
    ...(method.startsWith("client_secret") && { client_secret: "secret-of-chancery-at-its-company" }),
    ...(method === "private_key_jwt" && { jwks_uri: `${issuer}/jwks`, token_endpoint_auth_signing_alg: "ES256" }),
  };
  const provider = new Provider(`http://127.0.0.1:${port}`, {
    clients: [client, { ...client, client_id: "drive", redirect_uris: [`${issuer}/connect/callback`], grant_types: GRANTS }],
    features: { revocation: { enabled: true } },
    // So short that every use of an account refreshes it, and each refresh token is good once.
    ttl: { AccessToken: () => 100 },
    rotateRefreshToken: true,
    claims: { openid: ["sub", "name", "email", "roles", "groups"] },
    // What Chancery reads is in the ID token.
    conformIdTokenClaims: false,
    cookies: { keys: ["one machine, one test"] },
    pkce: { required: () => true },
    // Its fence refuses this machine, where the keys of Chancery are.
    fetch: (url, { dispatcher, ...options }) => fetch(url, options),
    enabledJWA: { clientAuthSigningAlgValues: ["ES256", "RS256"] },
    async findAccount(_context, id) {
      const claims = { sub: id, name: `${id} of the company`, email: `${id}@company.example` };
      const roles = id === "ada" ? ["boss"] : ["staff"];
      return { accountId: id, claims: async () => ({ ...claims, roles, groups: ["lab"] }) };
    },
  });
  provider.on("server_error", (_context, error) => console.error(error));
  provider.on("grant.error", (_context, error) => console.error(error));
  provider.listen(Number(port), "127.0.0.1");
}
