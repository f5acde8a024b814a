// The public conformance tool's authorization scenarios: it acts as an OAuth client, prints where a person must go, and
// listens for the answer.
import { spawn } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { send } from "./people.mjs";
import { check, context, finish, must, version } from "./report.mjs";

const tool = new URL("./node_modules/@modelcontextprotocol/conformance/dist/index.js", import.meta.url).pathname;
const PORT = 9137;

for (const [name, { id, secret }] of ["public-app", "post-app", "basic-app"].map((name) => [name, context.clients[name]])) {
  for (const specification of ["2025-11-25", "2026-07-28"]) {
    const title = `conformance ${version("@modelcontextprotocol/conformance")} authorization, ${specification}, ${name}`;
    const folder = mkdtempSync(join(tmpdir(), "conformance-"));
    await check(`${title}: the tool ran`, async () => {
      const given = ["authorization", "--url", context.issuer, "--client-id", id, ...(secret ? ["--client-secret", secret] : [])];
      const where = ["--resource", context.mcp, "--port", String(PORT), "--spec-version", specification, "-o", folder];
      const ran = spawn(process.execPath, [tool, ...given, ...where], { stdio: ["ignore", "pipe", "pipe"] });
      let [said, isSent] = ["", false];
      const hear = async (words) => {
        process.stderr.write(words);
        said += words;
        const found = !isSent && said.match(/(http:\/\/\S+\/authorize\?\S+)\s/);
        // It names the address before it listens for the answer.
        if (!found || !said.includes("Callback server started")) return;
        isSent = true;
        await send(found[1]).then(fetch).catch((error) => console.error(error));
      };
      ran.stdout.on("data", hear);
      ran.stderr.on("data", hear);
      await new Promise((ended) => ran.on("close", ended));
      must(isSent, said.slice(-300));
    });
    for (const scenario of readdirSync(folder).sort()) {
      const checks = JSON.parse(readFileSync(join(folder, scenario, "checks.json"), "utf8"));
      const short = scenario.replace(/-\d{4}-\d\d-\d\dT.*$/, "");
      for (const { id, status, errorMessage } of checks) {
        await check(`${title}, ${short}: ${id}`, () => {
          if (!["SUCCESS", "INFO", "SKIPPED"].includes(status)) throw new Error(`${status} ${errorMessage ?? ""}`);
          return status;
        });
      }
    }
    rmSync(folder, { recursive: true });
  }
}
finish();
