// npm install @modelcontextprotocol/client
// The agent's secret comes from the environment: CHANCERY_CLIENT_SECRET, and CHANCERY_CLIENT_ID if it has another client.
import { Client, ClientCredentialsProvider, StreamableHTTPClientTransport } from "@modelcontextprotocol/client";

const url = {url};

const clientSecret = process.env.CHANCERY_CLIENT_SECRET;
if (!clientSecret) throw new Error("CHANCERY_CLIENT_SECRET is not set");
const authProvider = new ClientCredentialsProvider({
  clientId: process.env.CHANCERY_CLIENT_ID ?? {client},
  clientSecret,
  expectedIssuer: {issuer},
});

const client = new Client({ name: {agent}, version: "1.0.0" });
await client.connect(new StreamableHTTPClientTransport(new URL(url), { authProvider }));
for (const tool of (await client.listTools()).tools) console.log(tool.name);
await client.close();
