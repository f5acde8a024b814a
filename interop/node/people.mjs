// What the programs that bring people share: sending a person to an address.
import { context, must } from "./report.mjs";

/** Where the person's browser was sent in the end. */
export async function send(url, wishes = {}) {
  const query = new URLSearchParams({ url: String(url), who: "alice", through: context.provider, ...wishes });
  const response = await fetch(`${context.person}/?${query}`);
  const { location, ...stopped } = await response.json();
  must(location, stopped);
  return new URL(location);
}

/** Where no program listens: the person's browser is not sent there, but says that it would be. */
export const CALLBACK = "http://127.0.0.1:9/callback";
