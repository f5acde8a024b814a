// Programs that people put in front of MCP servers: mcp-remote, the Inspector on the command line. Both are given a
// token; each does the same directly and through the gateway.
import { execFile } from "node:child_process";
import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { Client } from "@modelcontextprotocol/client";
import { StdioClientTransport } from "@modelcontextprotocol/client/stdio";
import { same, WAYS } from "./both-ways.mjs";
import { finish, version } from "./report.mjs";

const run = promisify(execFile);
const program = (path) => new URL(`./node_modules/${path}`, import.meta.url).pathname;
const headerOf = ({ headers }) => Object.entries(headers)[0];

const remote = `mcp-remote ${version("mcp-remote")}`;
await same(
  `${remote}: lists and calls over stdio`,
  async (way) => {
    const [key, value] = headerOf(way);
    const transport = new StdioClientTransport({
      command: process.execPath,
      args: [program("mcp-remote/dist/proxy.js"), way.url, "--header", `${key}:\${SECRET}`, "--transport", "http-only"],
      env: { ...process.env, SECRET: value, MCP_REMOTE_CONFIG_DIR: mkdtempSync(join(tmpdir(), "mcp-remote-")) },
      stderr: "inherit",
    });
    const client = new Client({ name: "interop", version: "1" });
    await client.connect(transport);
    const { tools } = await client.listTools();
    const seen = [];
    const onprogress = ({ progress }) => seen.push(progress);
    const answers = [
      await client.callTool({ name: "add", arguments: { a: 1, b: 2 } }),
      await client.callTool({ name: "test_tool_with_progress", arguments: {} }, { onprogress }),
      await client.readResource({ uri: "test://static-text" }),
      await client.getPrompt({ name: "test_simple_prompt" }),
    ];
    await client.close();
    return { tools, answers, seen };
  },
  WAYS,
);

const inspector = `Inspector ${version("@modelcontextprotocol/inspector")}`;
const ASKED = {
  "tools/list": [],
  "tools/call": ["--tool-name", "add", "--tool-arg", "a=1", "--tool-arg", "b=2"],
  "resources/list": [],
  "resources/read": ["--uri", "test://static-text"],
  "prompts/list": [],
  "prompts/get": ["--prompt-name", "test_simple_prompt"],
};
for (const era of ["legacy", "modern"]) {
  for (const [method, rest] of Object.entries(ASKED)) {
    await same(
      `${inspector}, ${era}: ${method}`,
      async (way) => {
        const launcher = program("@modelcontextprotocol/inspector/clients/launcher/build/index.js");
        const [key, value] = headerOf(way);
        const entrance = ["--transport", "http", "--header", `${key}: ${value}`, "--protocol-era", era];
        const { stdout } = await run(process.execPath, [launcher, "--cli", way.url, ...entrance, "--method", method, ...rest]);
        const { ttlMs, cacheScope, ...answer } = JSON.parse(stdout);
        return answer;
      },
      WAYS,
    );
  }
}
finish();
