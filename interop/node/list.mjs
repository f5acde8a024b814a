// Prints what an MCP server offers. Arguments: its URL, the name of a header, its value.
import { Client, StreamableHTTPClientTransport } from "@modelcontextprotocol/client";

const [url, name, value] = process.argv.slice(2);
const client = new Client({ name: "interop", version: "1" });
await client.connect(new StreamableHTTPClientTransport(new URL(url), { requestInit: { headers: { [name]: value } } }));
const { tools } = await client.listTools();
const { prompts } = await client.listPrompts();
const { resources } = await client.listResources();
const { resourceTemplates } = await client.listResourceTemplates();
console.log(JSON.stringify({ tools, prompts, resources, resourceTemplates }));
await client.close();
