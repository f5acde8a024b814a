// Does a thing directly at the fixture and through the gateway, and passes if both came out the same.
import { isDeepStrictEqual } from "node:util";
import { check, context } from "./report.mjs";

/** The two ways: where each goes, and what it takes to get in. */
export const WAYS = [
  { name: "directly", url: context.direct.url, headers: { "x-api-key": context.direct.key } },
  { name: "through the gateway", url: context.gateway.url, headers: { authorization: `Bearer ${context.gateway.token}` } },
];

/** One check: `work` is done each way; what it returns, as JSON, must be the same, and not an error. */
export async function same(name, work, [direct, gateway]) {
  await check(name, async () => {
    const [wanted, got] = [plain(await work(direct)), plain(await work(gateway))];
    if (!isDeepStrictEqual(wanted, got)) {
      throw new Error(`directly ${JSON.stringify(wanted)}, through the gateway ${JSON.stringify(got)}`);
    }
    return JSON.stringify(wanted);
  });
}

/** What becomes of something that may fail: its result, or the code and kind of its error. */
export async function outcome(work) {
  try {
    return { result: await work() };
  } catch (error) {
    return { failed: error.code ?? error.name };
  }
}

const plain = (value) => JSON.parse(JSON.stringify(value ?? null));
