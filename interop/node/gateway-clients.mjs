// The TypeScript SDK's clients, v1 and v2, in both eras: everything that a server can do, directly and through the
// gateway. Through the gateway they get their tokens by themselves, as clients of Chancery.
import * as second from "@modelcontextprotocol/client";
import { ClientCredentialsProvider } from "@modelcontextprotocol/sdk/client/auth-extensions.js";
import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StreamableHTTPClientTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js";
import {
  CreateMessageRequestSchema,
  ElicitRequestSchema,
  LoggingMessageNotificationSchema,
} from "@modelcontextprotocol/sdk/types.js";
import { outcome, same, WAYS } from "./both-ways.mjs";
import { check, context, finish, must, version } from "./report.mjs";

const first = {
  Client,
  StreamableHTTPClientTransport,
  ClientCredentialsProvider,
  elicitation: ElicitRequestSchema,
  sampling: CreateMessageRequestSchema,
  logging: LoggingMessageNotificationSchema,
  call: (client, params, options) => client.callTool(params, undefined, options),
};
const newer = {
  ...second,
  elicitation: "elicitation/create",
  sampling: "sampling/createMessage",
  logging: "notifications/message",
  call: (client, params, options) => client.callTool(params, options),
};
const CLIENTS = [
  [`TypeScript sdk ${version("@modelcontextprotocol/sdk")}, sessions`, first, {}],
  [`TypeScript client ${version("@modelcontextprotocol/client")}, sessions`, newer, {}],
  [`TypeScript client ${version("@modelcontextprotocol/client")}, 2026-07-28`, newer, { versionNegotiation: { mode: "auto" } }],
];

async function open(sdk, way, options) {
  const capabilities = { elicitation: {}, sampling: {} };
  const client = new sdk.Client({ name: "interop", version: "1" }, { capabilities, ...options });
  const logged = [];
  client.setRequestHandler(sdk.elicitation, async ({ params }) => ({
    action: "accept",
    content: { name: "Alice", username: "alice", email: "alice@corp.example", said: params.message },
  }));
  client.setRequestHandler(sdk.sampling, async () => ({
    role: "assistant",
    model: "none",
    content: { type: "text", text: "Paris" },
  }));
  client.setNotificationHandler(sdk.logging, ({ params }) => logged.push(params.data));
  const { id: clientId, secret: clientSecret } = context.client;
  const expectedIssuer = context.issuer;
  const entrance = way.headers["x-api-key"]
    ? { requestInit: { headers: way.headers } }
    : { authProvider: new sdk.ClientCredentialsProvider({ clientId, clientSecret, expectedIssuer }) };
  const transport = new sdk.StreamableHTTPClientTransport(new URL(way.url), entrance);
  await client.connect(transport);
  const call = (name, args = {}, more) => sdk.call(client, { name, arguments: args }, more);
  return { client, transport, call, logged };
}

const only = (result) => {
  // Who may keep a listing, and for how long, is the gateway's to say.
  const { ttlMs, cacheScope, ...rest } = result;
  return rest;
};

/** How many waits the server saw cancelled, when one is given up. */
async function cancels({ call }, progress) {
  const count = async () => Number((await call("cancelled")).content[0].text);
  const before = await count();
  const stop = new AbortController();
  const waiting = outcome(() => call("wait", { seconds: 20, progress }, { signal: stop.signal, onprogress() {} }));
  setTimeout(() => stop.abort(), 300);
  await waiting;
  for (let tries = 0; tries < 100 && (await count()) === before; tries += 1) {
    await new Promise((done) => setTimeout(done, 50));
  }
  return (await count()) - before;
}

const STEPS = {
  "what the server is": ({ client }) => [client.getServerVersion(), client.getServerCapabilities()],
  "tools/list": async ({ client }) => only(await client.listTools()),
  "prompts/list": async ({ client }) => only(await client.listPrompts()),
  "resources/list": async ({ client }) => only(await client.listResources()),
  "resources/templates/list": async ({ client }) => only(await client.listResourceTemplates()),
  "a tool with arguments and structured content": ({ call }) => call("add", { a: 2, b: 40.5 }),
  "text of every kind": ({ call }) => call("echo", { text: "Grüße, 世界 \u{1F44B} \" \\ \u0007 </script>" }),
  "every kind of content": async ({ call }) => [
    await call("test_image_content"),
    await call("test_audio_content"),
    await call("test_multiple_content_types"),
  ],
  "a tool that fails": ({ call }) => call("test_error_handling"),
  "an unknown tool": ({ call }) => outcome(() => call("no_such_tool")),
  "an argument that is missing": ({ call }) => outcome(() => call("add", { a: 1 })),
  "a header that a tool asks for": ({ call }) => call("test_custom_headers", { region: "eu", query: "x" }),
  progress: async ({ call }) => {
    const seen = [];
    const answer = await call("test_tool_with_progress", {}, { onprogress: ({ progress }) => seen.push(progress) });
    return [answer, seen];
  },
  "log messages": async ({ call, logged, client }) => {
    if (client.getNegotiatedProtocolVersion?.() !== "2026-07-28") await client.setLoggingLevel("debug");
    return [await call("test_tool_with_logging"), logged];
  },
  "resources/read": async ({ client }) => [
    only(await client.readResource({ uri: "test://static-text" })),
    only(await client.readResource({ uri: "test://static-binary" })),
    only(await client.readResource({ uri: "test://template/7/data" })),
  ],
  "an unknown resource": ({ client }) => outcome(() => client.readResource({ uri: "test://nothing" })),
  "prompts/get": async ({ client }) => [
    await client.getPrompt({ name: "test_simple_prompt" }),
    await client.getPrompt({ name: "test_prompt_with_arguments", arguments: { arg1: "a", arg2: "b" } }),
  ],
  "completion/complete": ({ client }) => {
    const ref = { type: "ref/prompt", name: "test_prompt_with_arguments" };
    return client.complete({ ref, argument: { name: "arg1", value: "par" } });
  },
  elicitation: ({ call }) => call("test_elicitation", { message: "who?" }),
  sampling: ({ call }) => call("test_sampling", { prompt: "The capital of France?" }),
  "several rounds": ({ call }) => call("test_input_required_result_multi_round"),
  "calls side by side": ({ call }) =>
    Promise.all(Array.from({ length: 8 }, (_, index) => call("echo", { text: String(index) }))),
  "cancellation of a call that tells how far it is": (one) => cancels(one, true),
  "cancellation before the first word": (one) => cancels(one, false),
  "the end of a session": async ({ client, transport, call }) => {
    if (transport.sessionId === undefined) return "there is none";
    await transport.terminateSession();
    transport._sessionId = "forged";
    const ended = await outcome(() => call("echo", { text: "x" }));
    return { ended, is: client.getServerVersion().name };
  },
};

for (const [name, sdk, options] of CLIENTS) {
  let opened = [];
  await check(`${name}: connects both ways`, async () => {
    for (const way of WAYS) opened.push(await open(sdk, way, options));
    const eras = opened.map(({ client }) => client.getNegotiatedProtocolVersion?.() ?? "sessions");
    must(eras[0] === eras[1], eras);
    return eras[0];
  });
  if (opened.length < WAYS.length) continue;
  for (const [step, work] of Object.entries(STEPS)) await same(`${name}: ${step}`, work, opened);
  for (const { client } of opened) await client.close();
}
finish();
