// The public conformance tool against the fixture, directly and through the gateway: every check must come out the
// same. The tool cannot send a header, so a pass-through listener adds it, both ways.
import { spawnSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { check, context, finish, must, version } from "./report.mjs";

const tool = new URL("./node_modules/@modelcontextprotocol/conformance/dist/index.js", import.meta.url).pathname;

/** Scenario and check to outcome. A check that a scenario makes several times has several. */
function play(url, requirements) {
  const folder = mkdtempSync(join(tmpdir(), "conformance-"));
  const given = [tool, "server", "--url", url, "--requirements", requirements, "-o", folder];
  const ran = spawnSync(process.execPath, given, { encoding: "utf8" });
  if (ran.error) throw ran.error;
  const outcomes = new Map();
  for (const name of readdirSync(folder)) {
    const scenario = name.replace(/^server-/, "").replace(/-\d{4}-\d\d-\d\dT.*$/, "");
    const checks = JSON.parse(readFileSync(join(folder, name, "checks.json"), "utf8"));
    for (const { id, status, errorMessage } of checks) {
      const key = `${scenario}: ${id}`;
      outcomes.set(key, [...(outcomes.get(key) ?? []), { status, errorMessage }]);
    }
  }
  rmSync(folder, { recursive: true });
  return outcomes;
}

const words = (outcomes) => (outcomes ?? []).map(({ status }) => status).join(" ") || "nothing";

for (const requirements of ["2025-11-25", "2026-07-28"]) {
  const title = `conformance ${version("@modelcontextprotocol/conformance")}, ${requirements}`;
  const [direct, gateway] = [context.direct.open, context.gateway.open].map((url) => play(url, requirements));
  await check(`${title}: the tool ran`, () => must(direct.size > 50 && gateway.size > 50, direct.size, gateway.size));
  for (const key of new Set([...direct.keys(), ...gateway.keys()])) {
    const [wanted, got] = [direct, gateway].map((outcomes) => words(outcomes.get(key)));
    // A check that the server does not pass by itself says so: that it fails alike is all that is known.
    const alike = wanted === got && /FAILURE|WARNING/.test(wanted) ? " (not passed by the server itself)" : "";
    await check(`${title}, ${key}${alike}`, () => {
      const why = (gateway.get(key) ?? []).map(({ errorMessage }) => errorMessage ?? "").join(" ");
      if (wanted !== got) throw new Error(`directly ${wanted}, through the gateway ${got} ${why}`);
      return wanted;
    });
  }
}
finish();
