// MCP clients that find the authorization server, make themselves known and bring a person: the TypeScript SDK, v1 and
// v2, by registration and by metadata document, and mcp-remote; through the gateway.
import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as second from "@modelcontextprotocol/client";
import { StdioClientTransport } from "@modelcontextprotocol/client/stdio";
import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StreamableHTTPClientTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js";
import { CALLBACK, send } from "./people.mjs";
import { check, context, finish, must, version } from "./report.mjs";

const url = new URL(context.mcp);

/** What an application keeps; the SDK does the rest. */
class Kept {
  redirectUrl = CALLBACK;
  constructor(name, clientMetadataUrl) {
    this.clientMetadata = {
      client_name: name,
      redirect_uris: [CALLBACK],
      grant_types: ["authorization_code", "refresh_token"],
      response_types: ["code"],
      token_endpoint_auth_method: "none",
    };
    if (clientMetadataUrl) this.clientMetadataUrl = clientMetadataUrl;
  }
  state = () => (this.asked ??= crypto.randomUUID());
  clientInformation = () => this.information;
  saveClientInformation = (information) => void (this.information = information);
  tokens = () => this.given;
  saveTokens = (given) => void (this.given = given);
  redirectToAuthorization = (question) => void (this.question = question);
  saveCodeVerifier = (verifier) => void (this.verifier = verifier);
  codeVerifier = () => this.verifier;
}

async function use(sdk, transport) {
  const client = new sdk.Client({ name: "interop", version: "1" });
  await client.connect(transport);
  const { tools } = await client.listTools();
  must(tools.some(({ name }) => name === "add"), tools);
  const { content } = await client.callTool({ name: "add", arguments: { a: 1, b: 2 } });
  must(content[0].text.includes("3"), content);
  await client.close();
}

async function letIn(sdk, kept, finishWith) {
  const transport = () => new sdk.StreamableHTTPClientTransport(url, { authProvider: kept });
  const one = transport();
  const refused = await use(sdk, one).then(() => undefined, (error) => error);
  must(kept.question, `${refused}`);
  const back = await send(kept.question);
  must(back.searchParams.get("state") === kept.asked, back.href);
  await one.finishAuth(...finishWith(back.searchParams));
  await use(sdk, transport());
  return kept.given.scope;
}

const sdks = [
  [`TypeScript sdk ${version("@modelcontextprotocol/sdk")}`, { Client, StreamableHTTPClientTransport }, (found) => [found.get("code")]],
  [`TypeScript client ${version("@modelcontextprotocol/client")}`, second, (found) => [found]],
];
for (const [name, sdk, finishWith] of sdks) {
  await check(`${name}: registers itself (RFC 7591), the person lets it in, it calls`, () =>
    letIn(sdk, new Kept(name), finishWith));
  await check(`${name}: metadata document (CIMD), the person lets it in, it calls`, async () => {
    const document = `${context.documents}/${encodeURIComponent(name)}.json`;
    const kept = new Kept(name, document);
    await letIn(sdk, kept, finishWith);
    must(kept.information.client_id === document, kept.information);
  });
  await check(`${name}: refreshes by itself`, async () => {
    const kept = new Kept(`${name} again`);
    await letIn(sdk, kept, finishWith);
    const before = kept.given.access_token;
    kept.given = { ...kept.given, access_token: "spoiled" };
    kept.question = undefined;
    await use(sdk, new sdk.StreamableHTTPClientTransport(url, { authProvider: kept }));
    must(!kept.question && kept.given.access_token !== before, "it asked the person again");
  });
}

const program = new URL("./node_modules/mcp-remote/dist/proxy.js", import.meta.url).pathname;
for (const [way, more] of [
  ["registers itself", []],
  ["metadata document", ["--client-metadata-url", `${context.documents}/mcp-remote.json`]],
]) {
  await check(`mcp-remote ${version("mcp-remote")}, ${way}: the person lets it in, lists and calls over stdio`, async () => {
    const folder = mkdtempSync(join(tmpdir(), "mcp-remote-"));
    const transport = new StdioClientTransport({
      command: process.execPath,
      args: [program, url.href, ...more, "--transport", "http-only"],
      // It would open a browser: there is none to open.
      env: { MCP_REMOTE_CONFIG_DIR: folder, PATH: folder, HOME: folder },
      stderr: "pipe",
    });
    let said = "";
    transport.stderr.on("data", async (words) => {
      process.stderr.write(words);
      const had = said.match(/visiting:\s+(\S+)\s/);
      said += words;
      const found = !had && said.match(/visiting:\s+(\S+)\s/);
      // This is what the browser does in the end: it calls the program's own listener.
      if (found) await send(found[1]).then(fetch).catch((error) => console.error(error));
    });
    await use(second, transport);
  });
}
finish();
