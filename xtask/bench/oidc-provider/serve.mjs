// oidc-provider as the benchmark compares with it: client credentials, JWT access tokens signed with ES256,
// everything in memory, nothing recorded, no policy. Argument: the address to listen on.
import { generateKeyPairSync } from "node:crypto";
import { createServer } from "node:http";
import Provider from "oidc-provider";

const [host, port] = process.argv[2].split(":");
const { privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
const key = { ...privateKey.export({ format: "jwk" }), kid: "one", alg: "ES256", use: "sig" };

const provider = new Provider(`http://${process.argv[2]}`, {
  jwks: { keys: [key] },
  clients: [
    {
      client_id: "worker",
      client_secret: "a-secret-of-the-benchmark-and-of-nothing-else",
      token_endpoint_auth_method: "client_secret_post",
      grant_types: ["client_credentials"],
      redirect_uris: [],
      response_types: [],
      id_token_signed_response_alg: "ES256",
    },
  ],
  scopes: ["read"],
  features: {
    devInteractions: { enabled: false },
    clientCredentials: { enabled: true },
    resourceIndicators: {
      enabled: true,
      getResourceServerInfo: () => ({
        scope: "read",
        accessTokenFormat: "jwt",
        accessTokenTTL: 300,
        jwt: { sign: { alg: "ES256" } },
      }),
    },
  },
});

const answer = provider.callback();
createServer((request, response) => {
  if (request.url === "/readyz") {
    response.setHeader("content-length", 0);
    response.end();
  } else {
    answer(request, response);
  }
}).listen(Number(port), host);
