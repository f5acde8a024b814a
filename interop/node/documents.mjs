// Serves client metadata documents (CIMD) over https. Arguments: port, certificate, key.
import { readFileSync } from "node:fs";
import { createServer } from "node:https";

const [port, certificate, key] = process.argv.slice(2);
const base = `https://localhost:${port}`;

createServer({ cert: readFileSync(certificate), key: readFileSync(key) }, (request, response) => {
  const document = {
    client_id: `${base}${request.url}`,
    client_name: `Client at ${request.url}`,
    redirect_uris: ["http://127.0.0.1/callback", "http://localhost/callback", "http://localhost/oauth/callback"],
    grant_types: ["authorization_code", "refresh_token"],
    response_types: ["code"],
    token_endpoint_auth_method: "none",
  };
  response.setHeader("content-type", "application/json");
  response.setHeader("cache-control", "max-age=600");
  response.end(JSON.stringify(document));
}).listen(Number(port), "localhost");
