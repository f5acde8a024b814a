// The MCP server that is reached directly and through the gateway: the official SDK's, both eras of the protocol at
// one URL, sessions, resumable streams, and a key that every request must carry. Arguments: port, key.
import { createServer } from "node:http";
import { randomUUID } from "node:crypto";
import { createMcpHandler, isInitializeRequest, isLegacyRequest } from "@modelcontextprotocol/server";
import {
  localhostHostValidation,
  localhostOriginValidation,
  NodeStreamableHTTPServerTransport,
  toNodeHandler,
  toWebRequest,
} from "@modelcontextprotocol/node";
import { makeServer, noticesTo } from "./fixture-content.mjs";

const [port, key] = [Number(process.argv[2]), process.argv[3]];
const isOwnHost = localhostHostValidation();
const isOwnOrigin = localhostOriginValidation();

/** What a stream has sent, so that it can be taken up again. */
class Sent {
  #events = [];

  async storeEvent(stream, message) {
    this.#events.push({ stream, message });
    return String(this.#events.length);
  }

  async getStreamIdForEventId(id) {
    return this.#events[Number(id) - 1]?.stream;
  }

  async replayEventsAfter(id, { send }) {
    const stream = await this.getStreamIdForEventId(id);
    for (const [index, event] of this.#events.entries()) {
      const isLater = index >= Number(id) && event.stream === stream;
      // The first event of a stream carries nothing but its id.
      if (isLater && Object.keys(event.message).length > 0) await send(String(index + 1), event.message);
    }
    return stream;
  }
}

const sessions = new Map();
const modern = createMcpHandler(makeServer, { legacy: "reject" });
const answerModern = toNodeHandler(modern);
noticesTo({
  tools: () => (modern.notify.toolsChanged(), everySession((server) => server.sendToolListChanged())),
  prompts: () => (modern.notify.promptsChanged(), everySession((server) => server.sendPromptListChanged())),
});

function everySession(notify) {
  for (const { server } of sessions.values()) notify(server);
}

async function open() {
  const server = makeServer();
  const transport = new NodeStreamableHTTPServerTransport({
    sessionIdGenerator: () => randomUUID(),
    eventStore: new Sent(),
    retryInterval: 100,
    onsessioninitialized: (id) => sessions.set(id, { server, transport }),
    onsessionclosed: (id) => sessions.delete(id),
  });
  await server.connect(transport);
  return transport;
}

function refuse(response, status, text) {
  response.writeHead(status, { "content-type": "application/json" });
  response.end(JSON.stringify({ jsonrpc: "2.0", id: null, error: { code: -32000, message: text } }));
}

async function read(request) {
  const pieces = [];
  for await (const piece of request) pieces.push(piece);
  return Buffer.concat(pieces).toString("utf8");
}

async function answer(request, response) {
  if (request.url === "/up") return response.end("up");
  if (!isOwnHost(request, response) || !isOwnOrigin(request, response)) return;
  if (request.headers["x-api-key"] !== key) return refuse(response, 401, "the key is missing or wrong");
  if (request.url !== "/mcp") return refuse(response, 404, "not here");

  let message;
  if (request.method === "POST") {
    try {
      message = JSON.parse(await read(request));
    } catch {
      response.writeHead(400, { "content-type": "application/json" });
      const error = { code: -32700, message: "Parse error" };
      return response.end(JSON.stringify({ jsonrpc: "2.0", id: null, error }));
    }
  }
  if (!(await isLegacyRequest(await toWebRequest(request, message), message))) {
    return answerModern(request, response, message);
  }
  const session = request.headers["mcp-session-id"];
  if (session === undefined && message && isInitializeRequest(message)) {
    return (await open()).handleRequest(request, response, message);
  }
  if (session === undefined) return refuse(response, 400, "a session is needed");
  const found = sessions.get(session);
  if (!found) return refuse(response, 404, "no such session");
  return found.transport.handleRequest(request, response, message);
}

createServer((request, response) => {
  answer(request, response).catch((error) => {
    console.error(error);
    if (!response.headersSent) refuse(response, 500, "a fault of the fixture");
  });
}).listen(port, "127.0.0.1", () => console.error(`listening on ${port}`));
