// The TypeScript SDK's own client providers: they know an MCP server's URL, the issuer, and who they are.
import * as second from "@modelcontextprotocol/client";
import { ClientCredentialsProvider, PrivateKeyJwtProvider } from "@modelcontextprotocol/sdk/client/auth-extensions.js";
import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StreamableHTTPClientTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js";
import { check, context, finish, must, version } from "./report.mjs";

const first = { Client, StreamableHTTPClientTransport, ClientCredentialsProvider, PrivateKeyJwtProvider };
const sdks = [
  [`TypeScript sdk ${version("@modelcontextprotocol/sdk")}`, first],
  [`TypeScript client ${version("@modelcontextprotocol/client")}`, second],
];

async function getsIn(sdk, url, authProvider, clientId) {
  const client = new sdk.Client({ name: "interop", version: "1" });
  await client.connect(new sdk.StreamableHTTPClientTransport(new URL(url), { authProvider }));
  const tools = await client.listTools();
  must(tools.tools.map((tool) => tool.name).join() === "whoami", tools);
  const answer = await client.callTool({ name: "whoami", arguments: {} });
  must(answer.content[0].text === clientId, answer);
  await client.close();
  return "listed and called";
}

for (const [name, sdk] of sdks) {
  for (const server of context.servers.slice(0, 2)) {
    const place = `${name}, server on mcp ${server.sdk}`;
    const expectedIssuer = context.issuer;
    await check(`${place}: client_secret_basic`, () => {
      const { id, secret } = context.clients["client-secret-basic"];
      const provider = new sdk.ClientCredentialsProvider({ clientId: id, clientSecret: secret, expectedIssuer });
      return getsIn(sdk, server.url, provider, id);
    });
    for (const algorithm of ["ES256", "RS256"]) {
      await check(`${place}: private_key_jwt ${algorithm}`, () => {
        const client = `key-${algorithm.toLowerCase()}`;
        const { id } = context.clients[client];
        const privateKey = context.keys[client];
        const provider = new sdk.PrivateKeyJwtProvider({ clientId: id, privateKey, algorithm, expectedIssuer });
        return getsIn(sdk, server.url, provider, id);
      });
    }
  }
}
finish();
