// One JSON object per line for each check; the program fails if one did.
import { readFileSync } from "node:fs";

export const context = JSON.parse(readFileSync(process.argv[2], "utf8"));

let failed = false;

/** Runs one check. What it returns is its detail; anything thrown fails it. */
export async function check(name, work) {
  try {
    say(name, true, await work());
  } catch (error) {
    failed = true;
    console.error(error);
    say(name, false, `${error?.name}: ${error?.message}`.split("\n")[0]);
  }
}

export function finish() {
  process.exit(failed ? 1 : 0);
}

export function must(condition, ...seen) {
  if (!condition) throw new Error(`unexpected: ${JSON.stringify(seen)}`);
}

function say(check, passed, detail) {
  console.log(JSON.stringify({ check, passed, detail: String(detail ?? "") }));
}

/** The version of an installed package. */
export function version(name) {
  const root = new URL(`./node_modules/${name}/package.json`, import.meta.url);
  return JSON.parse(readFileSync(root, "utf8")).version;
}
