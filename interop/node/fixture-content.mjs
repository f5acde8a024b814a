// What the fixture offers: one tool, prompt or resource for each thing that an MCP server can do. Names and answers
// that start with `test` are those that the conformance tool asks for.
import {
  acceptedContent,
  completable,
  createRequestStateCodec,
  fromJsonSchema,
  inputRequired,
  McpServer,
  MissingRequiredClientCapabilityError,
  ResourceTemplate,
} from "@modelcontextprotocol/server";
import { z } from "zod";

const PNG =
  "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8BQDwAEhQGAhKmMIQAAAABJRU5ErkJggg==";
const WAV = Buffer.concat([
  Buffer.from("RIFF\x24\0\0\0WAVEfmt \x10\0\0\0\x01\0\x01\0", "latin1"),
  Buffer.from([0x40, 0x1f, 0, 0, 0x40, 0x1f, 0, 0, 1, 0, 8, 0]),
  Buffer.from("data\0\0\0\0", "latin1"),
]).toString("base64");

let notices = { tools() {}, prompts() {} };
let cancelled = 0;

/** Where changes of the lists are told. */
export function noticesTo(target) {
  notices = target;
}

const text = (words) => ({ content: [{ type: "text", text: words }] });
const said = (words) => ({ messages: [{ role: "user", content: { type: "text", text: words } }] });
const pause = (milliseconds) => new Promise((done) => setTimeout(done, milliseconds));
const object = (properties, required = Object.keys(properties)) => ({ type: "object", properties, required });
const states = createRequestStateCodec({ key: "a key of the fixture, at least thirty-two bytes long" });

/** A server with everything. */
export function makeServer() {
  const options = {
    capabilities: { logging: {}, resources: { subscribe: true, listChanged: true }, tools: { listChanged: true } },
    requestState: { verify: states.verify },
  };
  const server = new McpServer({ name: "fixture", version: "1.0.0" }, options);
  for (const add of [contents, notifications, questions, rounds, schemas, resources, prompts]) add(server);
  return server;
}

function contents(server) {
  const image = { type: "image", data: PNG, mimeType: "image/png" };
  const tools = {
    test_simple_text: [{ type: "text", text: "This is a simple text response for testing." }],
    test_image_content: [image],
    test_audio_content: [{ type: "audio", data: WAV, mimeType: "audio/wav" }],
    test_embedded_resource: [embedded("test://embedded-resource", "text/plain", "This is an embedded resource content.")],
    test_multiple_content_types: [
      { type: "text", text: "Multiple content types test:" },
      image,
      embedded("test://mixed-content-resource", "application/json", JSON.stringify({ test: "data", value: 123 })),
    ],
  };
  for (const [name, content] of Object.entries(tools)) {
    server.registerTool(name, { description: `Answers ${name}.`, annotations: { readOnlyHint: true } }, async () => ({
      content,
    }));
  }
  server.registerTool("test_error_handling", { description: "Fails." }, async () => {
    throw new Error("This tool intentionally returns an error for testing");
  });
  const sum = z.object({ sum: z.number() });
  const numbers = z.object({ a: z.number(), b: z.number() });
  server.registerTool("add", { description: "Adds.", inputSchema: numbers, outputSchema: sum }, async ({ a, b }) => ({
    ...text(String(a + b)),
    structuredContent: { sum: a + b },
  }));
  const message = z.object({ text: z.string() });
  server.registerTool("echo", { description: "Repeats.", inputSchema: message }, async (given) => text(given.text));
}

function embedded(uri, mimeType, words) {
  return { type: "resource", resource: { uri, mimeType, text: words } };
}

async function step(ctx, progress) {
  const progressToken = ctx.mcpReq._meta?.progressToken;
  if (progressToken === undefined) return;
  await ctx.mcpReq.notify({ method: "notifications/progress", params: { progressToken, progress, total: 100 } });
}

function notifications(server) {
  server.registerTool("test_tool_with_progress", { description: "Tells how far it is." }, async (ctx) => {
    for (const progress of [0, 50, 100]) {
      await step(ctx, progress);
      await pause(50);
    }
    return text("done");
  });
  server.registerTool("test_tool_with_logging", { description: "Logs three lines." }, async (ctx) => {
    for (const line of ["Tool execution started", "Tool processing data", "Tool execution completed"]) {
      await ctx.mcpReq.log("info", line);
      await pause(50);
    }
    return text("logged");
  });
  server.registerTool("test_logging_tool", { description: "Logs one line." }, async (ctx) => {
    await ctx.mcpReq.log("info", "a line");
    return text("logged");
  });
  server.registerTool("test_reconnection", { description: "Closes its stream and goes on." }, async (ctx) => {
    ctx.http?.closeSSE?.();
    await pause(100);
    return text("the stream was taken up again");
  });
  const seconds = z.object({ seconds: z.number(), progress: z.boolean().optional() });
  server.registerTool("wait", { description: "Waits.", inputSchema: seconds }, async (given, ctx) => {
    const end = Date.now() + given.seconds * 1000;
    while (Date.now() < end) {
      if (ctx.mcpReq.signal.aborted) {
        cancelled += 1;
        return text("cancelled");
      }
      if (given.progress) await step(ctx, 1);
      await pause(20);
    }
    return text("waited");
  });
  server.registerTool("cancelled", { description: "How many waits were cancelled." }, async () => text(String(cancelled)));
  server.registerTool("test_trigger_tool_change", { description: "Tells that tools changed." }, async () => {
    notices.tools();
    return text("told");
  });
  server.registerTool("test_trigger_prompt_change", { description: "Tells that prompts changed." }, async () => {
    notices.prompts();
    return text("told");
  });
}

const NAME = { message: "What is your name?", requestedSchema: object({ name: { type: "string" } }) };

function questions(server) {
  const ask = (name, inputSchema, question, answer) =>
    server.registerTool(name, { description: `Asks for ${name}.`, inputSchema }, async (given, ctx) => {
      const answered = ctx.mcpReq.inputResponses?.answer;
      return answered ? text(answer(answered)) : inputRequired({ inputRequests: { answer: question(given) } });
    });
  const outcome = (answer) => `action=${answer.action}, content=${JSON.stringify(answer.content)}`;
  ask(
    "test_sampling",
    z.object({ prompt: z.string() }),
    ({ prompt }) => inputRequired.createMessage(sampling(prompt, 100)),
    (answer) => `LLM response: ${answer.content?.text}`,
  );
  const person = {
    username: { type: "string", description: "User's response" },
    email: { type: "string", description: "User's email address" },
  };
  ask(
    "test_elicitation",
    z.object({ message: z.string() }),
    ({ message }) => inputRequired.elicit({ message, requestedSchema: object(person) }),
    (answer) => `User response: ${outcome(answer)}`,
  );
  const forms = { test_elicitation_sep1034_defaults: DEFAULTS, test_elicitation_sep1330_enums: ENUMS };
  for (const [name, properties] of Object.entries(forms)) {
    const requestedSchema = object(properties, []);
    ask(
      name,
      z.object({}),
      () => inputRequired.elicit({ message: "Please fill in", requestedSchema }),
      (answer) => `Elicitation completed: ${outcome(answer)}`,
    );
  }
}

const sampling = (words, maxTokens) => ({
  messages: [{ role: "user", content: { type: "text", text: words } }],
  maxTokens,
});

const DEFAULTS = {
  name: { type: "string", default: "John Doe" },
  age: { type: "integer", default: 30 },
  score: { type: "number", default: 95.5 },
  status: { type: "string", enum: ["active", "inactive", "pending"], default: "active" },
  verified: { type: "boolean", default: true },
};

const titled = (start, words) => words.map((title, index) => ({ const: `${start}${index + 1}`, title }));
const OPTIONS = ["option1", "option2", "option3"];
const ENUMS = {
  untitledSingle: { type: "string", enum: OPTIONS },
  titledSingle: { type: "string", oneOf: titled("value", ["First Option", "Second Option", "Third Option"]) },
  legacyEnum: { type: "string", enum: ["opt1", "opt2", "opt3"], enumNames: ["Option One", "Option Two", "Option Three"] },
  untitledMulti: { type: "array", items: { type: "string", enum: OPTIONS } },
  titledMulti: { type: "array", items: { anyOf: titled("value", ["First Choice", "Second Choice", "Third Choice"]) } },
};

function rounds(server) {
  const tool = (name, run) => server.registerTool(name, { description: `Plays ${name}.` }, run);
  const simple = (name, key, request, complete) =>
    tool(`test_input_required_result_${name}`, async (ctx) => {
      const answer = ctx.mcpReq.inputResponses?.[key];
      return answer && complete(answer) ? text(complete(answer)) : inputRequired({ inputRequests: { [key]: request } });
    });
  const named = (answer) => typeof answer.content?.name === "string" && `Hello, ${answer.content.name}!`;
  const france = sampling("What is the capital of France?", 100);
  simple("elicitation", "user_name", inputRequired.elicit(NAME), named);
  simple("sampling", "capital_question", inputRequired.createMessage(france), (answer) => answer.content?.text);
  simple("list_roots", "client_roots", inputRequired.listRoots(), ({ roots }) => roots?.map((root) => root.uri).join(" ") || "none");

  const confirm = inputRequired.elicit({ message: "Please confirm", requestedSchema: object({ ok: { type: "boolean" } }) });
  for (const name of ["request_state", "tampered_state"]) {
    tool(`test_input_required_result_${name}`, async (ctx) => {
      if (ctx.mcpReq.requestState()?.round === 1) return text("state-ok");
      return inputRequired({ inputRequests: { confirm }, requestState: await states.mint({ round: 1 }, ctx) });
    });
  }
  tool("test_input_required_result_multiple_inputs", async (ctx) => {
    const answers = ctx.mcpReq.inputResponses ?? {};
    if (["user_name", "greeting", "client_roots"].every((key) => key in answers)) return text("all answered");
    const greeting = inputRequired.createMessage(sampling("Generate a greeting", 50));
    const inputRequests = { user_name: inputRequired.elicit(NAME), greeting, client_roots: inputRequired.listRoots() };
    return inputRequired({ inputRequests, requestState: await states.mint({ round: 1 }, ctx) });
  });
  tool("test_input_required_result_multi_round", async (ctx) => {
    const done = ctx.mcpReq.requestState()?.round ?? 0;
    if (done === 2) return text("three rounds");
    const color = { message: "Step 2: What is your favorite color?", requestedSchema: object({ color: { type: "string" } }) };
    const next = done === 0 ? { step1: inputRequired.elicit(NAME) } : { step2: inputRequired.elicit(color) };
    return inputRequired({ inputRequests: next, requestState: await states.mint({ round: done + 1 }, ctx) });
  });
  tool("test_input_required_result_capabilities", async (ctx) => {
    const can = ctx.mcpReq.envelope?.["io.modelcontextprotocol/clientCapabilities"] ?? {};
    const inputRequests = {};
    if (can.sampling) inputRequests.capital = inputRequired.createMessage(france);
    if (can.elicitation) inputRequests.user_name = inputRequired.elicit(NAME);
    return Object.keys(inputRequests).length > 0 ? inputRequired({ inputRequests }) : text("nothing to ask with");
  });
  tool("test_missing_capability", async (ctx) => {
    const can = ctx.mcpReq.envelope?.["io.modelcontextprotocol/clientCapabilities"] ?? {};
    if (!can.sampling) throw new MissingRequiredClientCapabilityError({ requiredCapabilities: { sampling: {} } });
    return text("the client can sample");
  });
  tool("test_streaming_elicitation", async (ctx) => {
    await step(ctx, 1);
    if (acceptedContent(ctx.mcpReq.inputResponses, "user_name")) return text("answered");
    return inputRequired({ inputRequests: { user_name: inputRequired.elicit(NAME) } });
  });
}

const YEAR_2020 = {
  $schema: "https://json-schema.org/draft/2020-12/schema",
  type: "object",
  $defs: {
    address: { $anchor: "addressDef", type: "object", properties: { street: { type: "string" }, city: { type: "string" } } },
  },
  properties: {
    name: { type: "string" },
    address: { $ref: "#/$defs/address" },
    contactMethod: { type: "string", enum: ["phone", "email"] },
    phone: { type: "string" },
    email: { type: "string" },
  },
  allOf: [{ anyOf: [{ required: ["phone"] }, { required: ["email"] }] }],
  if: { properties: { contactMethod: { const: "phone" } }, required: ["contactMethod"] },
  then: { required: ["phone"] },
  else: { required: ["email"] },
  additionalProperties: false,
};

function schemas(server) {
  const answers = async (given) => text(JSON.stringify(given));
  const year = fromJsonSchema(YEAR_2020);
  server.registerTool("json_schema_2020_12_tool", { description: "Has a rich schema.", inputSchema: year }, answers);
  const header = fromJsonSchema({
    type: "object",
    properties: { region: { type: "string", "x-mcp-header": "Region" }, query: { type: "string" } },
    required: ["region", "query"],
  });
  server.registerTool("test_custom_headers", { description: "Wants a header.", inputSchema: header }, answers);
}

function resources(server) {
  const words = "This is the content of the static text resource.";
  const of = (uri, mimeType, content) => ({ contents: [{ uri: uri.href, mimeType, ...content }] });
  const plain = { description: "A text.", mimeType: "text/plain" };
  const picture = { description: "A picture.", mimeType: "image/png" };
  server.registerResource("static-text", "test://static-text", plain, async (uri) => of(uri, "text/plain", { text: words }));
  server.registerResource("static-binary", "test://static-binary", picture, async (uri) => of(uri, "image/png", { blob: PNG }));
  server.registerResource("watched", "test://watched-resource", plain, async (uri) => of(uri, "text/plain", { text: "watched" }));
  const template = new ResourceTemplate("test://template/{id}/data", { list: undefined });
  const config = { description: "One of many.", mimeType: "application/json" };
  server.registerResource("template", template, config, async (uri, { id }) =>
    of(uri, "application/json", { text: JSON.stringify({ id, templateTest: true, data: `Data for ID: ${id}` }) }),
  );
  server.server.setRequestHandler("resources/subscribe", async () => ({}));
  server.server.setRequestHandler("resources/unsubscribe", async () => ({}));
}

function prompts(server) {
  const prompt = (name, config, run) => server.registerPrompt(name, { description: `Fills ${name}.`, ...config }, run);
  prompt("test_simple_prompt", {}, async () => said("This is a simple prompt for testing."));
  const suggest = (value) => ["paris", "park", "party"].filter((word) => word.startsWith(value));
  const two = z.object({ arg1: completable(z.string(), suggest), arg2: z.string() });
  prompt("test_prompt_with_arguments", { argsSchema: two }, async ({ arg1, arg2 }) =>
    said(`Prompt with arguments: arg1='${arg1}', arg2='${arg2}'`),
  );
  const uri = z.object({ resourceUri: z.string() });
  prompt("test_prompt_with_embedded_resource", { argsSchema: uri }, async ({ resourceUri }) => {
    const content = embedded(resourceUri, "text/plain", "Embedded resource content for testing.");
    const rest = said("Please process the embedded resource above.").messages;
    return { messages: [{ role: "user", content }, ...rest] };
  });
  prompt("test_prompt_with_image", {}, async () => {
    const rest = said("Please analyze the image above.").messages;
    return { messages: [{ role: "user", content: { type: "image", data: PNG, mimeType: "image/png" } }, ...rest] };
  });
  prompt("test_input_required_result_prompt", {}, async (ctx) => {
    const answer = acceptedContent(ctx.mcpReq.inputResponses, "user_context");
    if (answer) return said(`In the context of ${answer.context}.`);
    const schema = object({ context: { type: "string" } });
    const question = inputRequired.elicit({ message: "What context should the prompt use?", requestedSchema: schema });
    return inputRequired({ inputRequests: { user_context: question } });
  });
}
