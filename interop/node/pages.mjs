// Every page in a real browser, Debian's Chromium: with scripts and without, by keyboard and by clicks, at two widths
// and in both colour schemes. axe finds nothing, nothing is asked of another origin, no rule of the Content Security
// Policy is broken, nothing is wider than the window. Screenshots are for people to look at.
import { execFileSync } from "node:child_process";
import { mkdirSync } from "node:fs";
import { createServer, request as httpRequest } from "node:http";
import puppeteer from "puppeteer-core";
import { check, context, finish, must, version } from "./report.mjs";
import { Window } from "./window.mjs";

const base = context.issuer;
// What clients are let say of themselves, at worst; and what the arguments of a call can hold.
const NAME = `Your bank <script>alert(1)</script> "><img src=x> ${"W".repeat(50)} ممم`;
const HOSTILE = `\u202E${NAME}`;

/** The administration interface at the local socket. */
const admin = (method, path, body) =>
  new Promise((resolve, reject) => {
    const headers = { "content-type": "application/json", "idempotency-key": crypto.randomUUID() };
    const asked = httpRequest({ socketPath: context.socket, method, path: `/api/v1${path}`, headers }, (answer) => {
      let text = "";
      answer.on("data", (piece) => (text += piece));
      answer.on("end", () => {
        if (answer.statusCode >= 300) reject(new Error(`${method} ${path}: ${answer.statusCode} ${text}`));
        else resolve(text && JSON.parse(text));
      });
    });
    asked.on("error", reject);
    asked.end(body && JSON.stringify(body));
  });

// Where clients listen.
let arrived;
const listener = createServer((request, response) => {
  if (request.url.startsWith("/callback")) arrived = new URL(request.url, "http://127.0.0.1");
  response.end("done");
});
await new Promise((listening) => listener.listen(0, "127.0.0.1", listening));
const callback = `http://127.0.0.1:${listener.address().port}/callback`;

/** A client that nobody vouches for, with a name to mislead by. */
async function register(name, redirect) {
  const body = JSON.stringify({ client_name: name, redirect_uris: [redirect], token_endpoint_auth_method: "none" });
  const answer = await fetch(`${base}/register`, { method: "POST", body, headers: { "content-type": "application/json" } });
  const made = await answer.json();
  must(answer.status === 201, made);
  return made.client_id;
}

async function question(client, resource = context.mcp, scope = "read write") {
  const verifier = "v".repeat(64);
  const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(verifier));
  const url = new URL(`${base}/authorize`);
  const parameters = {
    response_type: "code", client_id: client, redirect_uri: callback, resource, scope,
    state: crypto.randomUUID(), code_challenge_method: "S256", prompt: "consent",
    code_challenge: Buffer.from(digest).toString("base64url"),
  };
  for (const [name, value] of Object.entries(parameters)) url.searchParams.set(name, value);
  return { url: url.href, verifier };
}

async function redeem(client, verifier, resource = context.mcp) {
  const form = {
    grant_type: "authorization_code", client_id: client, redirect_uri: callback, resource,
    code: arrived.searchParams.get("code"), code_verifier: verifier,
  };
  const answer = await fetch(`${base}/token`, { method: "POST", body: new URLSearchParams(form) });
  const token = await answer.json();
  must(answer.status === 200, token);
  return token;
}

/** Calls a tool; what it says. */
async function call(token, name, args) {
  const body = { jsonrpc: "2.0", id: 1, method: "tools/call", params: { name, arguments: args } };
  const headers = {
    authorization: `Bearer ${token}`, accept: "application/json, text/event-stream",
    "content-type": "application/json", "mcp-protocol-version": "2025-11-25",
  };
  const send = (body, more) => fetch(context.mcp, { method: "POST", headers: { ...headers, ...more }, body: JSON.stringify(body) });
  const params = { protocolVersion: "2025-11-25", capabilities: {}, clientInfo: { name: "pages", version: "1" } };
  const begun = await send({ jsonrpc: "2.0", id: 0, method: "initialize", params });
  await begun.text();
  const session = begun.headers.get("mcp-session-id");
  const more = session ? { "mcp-session-id": session } : {};
  // What is listed first is what the gateway accepts from then on.
  await (await send({ jsonrpc: "2.0", id: 2, method: "tools/list", params: {} }, more)).text();
  const answer = await send(body, more);
  return answer.text();
}

mkdirSync(context.screenshots, { recursive: true });
const executablePath = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"].find((path) => {
  try {
    return execFileSync(path, ["--version"], { stdio: "pipe" });
  } catch {
    return false;
  }
});
if (!executablePath) throw new Error("pages are looked at with Chromium, which is not here: apt-get install chromium");
// In a container there is no name space for a sandbox; what is visited is our own.
const browser = await puppeteer.launch({ executablePath, args: ["--no-sandbox", "--disable-quic"] });

// A call whose yes needs a number, and one whose yes a passkey signs.
const NEEDS_A_YES = `
@id("echo-needs-a-yes")
forbid (principal is Agent, action == Action::"call_tool", resource == Tool::"fixture:echo")
unless { context has approval && context.approval.methods.contains("number") };
@id("add-needs-a-passkey")
forbid (principal is Agent, action == Action::"call_tool", resource == Tool::"fixture:add")
unless { context has approval && context.approval.methods.contains("passkey") };
`;
const { text } = await admin("GET", "/policy");
if (!text.includes("echo-needs-a-yes")) await admin("PUT", "/policy", { text: text + NEEDS_A_YES, comment: "pages" });

/** An account kept here: a one-time code, a password, and a passkey that signs in and signs a yes. */
async function local(hasScripts, mark, token) {
  const title = `Chromium, scripts ${mark}`;
  const account = `carl-${mark}`;
  const password = "correct horse battery staple";
  const carl = await Window.open(browser, hasScripts, mark);
  if (hasScripts) {
    const authenticator = await carl.page.createCDPSession();
    await authenticator.send("WebAuthn.enable");
    const options = {
      protocol: "ctap2", transport: "internal", hasResidentKey: true, hasUserVerification: true,
      isUserVerified: true, automaticPresenceSimulation: true,
    };
    await authenticator.send("WebAuthn.addVirtualAuthenticator", { options });
  }
  await check(`${title}: somebody without a company enrols with a one-time code`, async () => {
    await admin("POST", "/users", { name: account, issuer: "local", roles: [], groups: ["lab"], attributes: {} });
    const { secret } = await admin("POST", `/users/${account}/reset-secret`, {});
    must(secret, "no one-time code");
    await carl.go("/enrol");
    await carl.look("enrol");
    await carl.page.type("#code", secret);
    await carl.press("Continue");
    await carl.look("enrol-choose");
    await carl.page.type("#password", password);
    await carl.page.type("#again", password);
    await carl.press("Set the password");
    await carl.go("/me/sign-in");
    must((await carl.words()).includes(account), await carl.words());
  });
  await carl.look("my-sign-in");
  if (hasScripts) {
    await check(`${title}: a passkey is added`, async () => {
      await carl.page.type("#passkey-name", HOSTILE);
      await carl.press("Add a passkey");
      await carl.go("/me/sign-in");
      must((await carl.words()).includes("Your bank"), await carl.words());
    });
    await carl.look("my-sign-in-passkey");
  }
  await check(`${title}: out, and in again`, async () => {
    await carl.press("Sign out");
    await carl.go("/sign-in");
    await carl.look("sign-in-local");
    if (hasScripts) {
      await carl.press("Sign in with a passkey");
    } else {
      await carl.page.type("#name", account);
      await carl.page.type("#password", "not the password");
      await carl.press("Sign in");
      await carl.look("sign-in-refused");
      await carl.go("/sign-in");
      await carl.page.type("#name", account);
      await carl.page.type("#password", password);
      await carl.press("Sign in");
    }
    must(carl.page.url() === `${base}/me/agents`, carl.page.url());
  });
  await check(`${title}: a yes that a passkey signs`, async () => {
    const said = await call(token, "add", { a: 1, b: 2 });
    await carl.go(said.match(/http[^"\s]*\/approvals\/[a-z0-9_]+/)?.[0] ?? `no address: ${said}`);
    await carl.look("approval-passkey");
    if (!hasScripts) {
      must((await carl.words()).includes("is signed with a passkey, and you have none"), await carl.words());
      return;
    }
    await carl.press("Approve once");
    must((await carl.words()).includes("approved"), await carl.words());
    const done = await call(token, "add", { a: 1, b: 2 });
    must(done.includes('"result"') && !done.includes("A person must approve"), done);
  });
}

/** An account at a provider, for one agent: connected, used, refreshed, taken back. */
async function connects(alice, title) {
  let token;
  const use = () => fetch(`${context.drive}/me`, { headers: { authorization: `Bearer ${token}` } });
  await check(`${title}: an agent without an account is told where to send its person`, async () => {
    const client = await register("Drive helper", callback);
    const { url, verifier } = await question(client, context.drive, "see");
    await alice.go(url);
    await alice.press("Allow");
    token = (await redeem(client, verifier, context.drive)).access_token;
    const told = await (await use()).json();
    must(told.code === "account_not_connected", told);
    await alice.go(told.hint.match(/http\S+/)[0]);
  });
  await alice.look("connect");
  await check(`${title}: an account at oidc-provider ${version("oidc-provider")} is connected by keyboard, used and refreshed`, async () => {
    await alice.press("Allow and connect");
    await alice.agreeAt(context.accounts, "alice-there");
    must(alice.page.url().startsWith(`${base}/connect/callback`), alice.page.url());
    must((await alice.words()).includes("of the company"), await alice.words());
    for (let uses = 0; uses < 3; uses += 1) {
      const answer = await use();
      must(answer.status === 200 && (await answer.json()).sub, answer.status);
    }
    const { items } = await admin("GET", "/audit/events?kind=connected_account.refreshed");
    must(items.length >= 3, items.length);
  });
  await alice.look("connected");
  await check(`${title}: an account is given up, and revoked at its provider`, async () => {
    await alice.go("/me/agents");
    await alice.look("my-agents-accounts");
    await alice.press("Disconnect");
    const [revoked] = (await admin("GET", "/audit/events?kind=connected_account.revoked")).items;
    must(revoked?.outcome === "ok", revoked);
    const told = await (await use()).json();
    must(told.code === "account_not_connected", told);
  });
}

async function play(hasScripts) {
  const mark = hasScripts ? "on" : "off";
  const title = `Chromium, scripts ${mark}`;
  const alice = await Window.open(browser, hasScripts, mark);
  let token;
  await check(`${title}: a person signs in and lets a client in, by keyboard alone`, async () => {
    const client = await register(NAME, callback);
    const { url, verifier } = await question(client);
    await alice.go(url);
    await alice.look("sign-in");
    await alice.signIn(`alice-${mark}`);
    await alice.look("consent");
    const words = await alice.words();
    must(words.includes("registered itself") && !words.includes("\u202E"), words);
    await alice.press(/^change things/, "Space");
    // Tab leads to the one that is chosen; arrows lead to the others.
    await alice.press(/^One day/, "ArrowUp");
    await alice.press("Allow");
    must(arrived?.searchParams.get("code"), arrived?.href);
    const given = await redeem(client, verifier);
    must(given.scope === "read", given.scope);
    token = given.access_token;
  });
  await check(`${title}: a page of ours cannot be framed, and shows nothing of a hostile name as markup`, async () => {
    const answer = await fetch(`${base}/sign-in?return_to=/me/agents`, { redirect: "manual" });
    must(answer.headers.get("content-security-policy").includes("frame-ancestors 'none'"), answer.headers.get("content-security-policy"));
    must((await alice.page.$$("img, script:not([src])")).length === 0);
  });
  await alice.go("/me/agents");
  await alice.look("my-agents");
  let approval;
  await check(`${title}: whoever asked for it cannot approve it`, async () => {
    const said = await call(token, "echo", { text: `pay everything ${HOSTILE}` });
    approval = said.match(/http[^"\s]*\/approvals\/[a-z0-9_]+/)?.[0];
    must(approval, said);
    approval = { url: approval, number: said.match(/choose the number (\d+)/)[1] };
    await alice.go(approval.url);
    must(!(await alice.words()).includes("Approve once"), await alice.words());
  });
  await alice.look("approval-own");
  const bob = await Window.open(browser, hasScripts, mark);
  await check(`${title}: another person answers by keyboard alone`, async () => {
    await bob.go("/approvals");
    await bob.signIn(`bob-${mark}`);
    await bob.look("approvals");
    await bob.go(approval.url);
    await bob.look("approval");
    const words = await bob.words();
    must(words.includes("pay everything") && !words.includes("\u202E"), words);
    // The first of the numbers is reached by Tab, the others by arrows.
    const numbers = await bob.page.$$eval("input[name=number]", (all) => all.map(({ value }) => value));
    await bob.press(numbers[0], "Space");
    for (let steps = numbers.indexOf(approval.number); steps > 0; steps -= 1) await bob.page.keyboard.press("ArrowDown");
    await bob.press("Approve once");
    must((await bob.words()).includes("approved"), await bob.words());
  });
  await bob.look("approval-answered");
  await check(`${title}: what was approved runs once`, async () => {
    const args = { text: `pay everything ${HOSTILE}` };
    must((await call(token, "echo", args)).includes('"result"'));
    must((await call(token, "echo", args)).includes("A person must approve"));
  });
  await connects(alice, title);
  await local(hasScripts, mark, token);
  await check(`${title}: the back button and a second click change nothing`, async () => {
    await bob.page.goBack({ waitUntil: "networkidle0" });
    const again = await bob.page.$("button[type=submit]:not(.quiet):not(.bad)");
    if (again) await Promise.all([bob.page.waitForNavigation(), again.click()]);
    must(bob.page.url().startsWith(base), bob.page.url());
  });

  await check(`${title}: a device is let in by its code, typed`, async () => {
    const form = new URLSearchParams({ client_id: context.clients["device-app"].id, scope: "read write", resource: context.mcp });
    const asked = await (await fetch(`${base}/device_authorization`, { method: "POST", body: form })).json();
    must(asked.user_code, asked);
    await bob.go(asked.verification_uri);
    await bob.look("device");
    await bob.page.type("#user_code", "BCDF-GHJK");
    await bob.press("Continue");
    await bob.look("device-unknown");
    await bob.page.$eval("#user_code", (field) => void (field.value = ""));
    await bob.page.type("#user_code", asked.user_code.toLowerCase());
    await bob.press("Continue");
    await bob.look("device-consent");
    await bob.press("Allow");
    await bob.look("device-allowed");
    const poll = { grant_type: "urn:ietf:params:oauth:grant-type:device_code", device_code: asked.device_code };
    const body = new URLSearchParams({ ...poll, client_id: context.clients["device-app"].id });
    const given = await (await fetch(`${base}/token`, { method: "POST", body })).json();
    must(given.access_token, given);
  });

  const ada = await Window.open(browser, hasScripts, mark);
  await check(`${title}: an administrator signs in by clicks`, async () => {
    await register(NAME, "https://apps.example/callback");
    await ada.go("/console");
    await ada.signIn("ada");
  });
  for (const [name, path] of [
    ["console-agents", "/console/agents"],
    ["console-agent", "/console/agents/worker"],
    ["console-kill", "/console/agents/worker/kill"],
    ["console-connections", "/console/connections"],
    ["console-connection", "/console/connections/drive"],
    ["console-clients", "/console/clients"],
    ["console-decisions", "/console/decisions"],
    ["console-audit", "/console/audit"],
    ["console-audit-filtered", "/console/audit?kind=token.&agent=worker"],
    ["message-unknown", "/approvals/nothing"],
  ]) {
    await ada.go(path);
    await ada.look(name);
  }
  await check(`${title}: from a decision to its why, and a waiting client is adopted, by keyboard`, async () => {
    await ada.go("/console/decisions");
    await ada.press(/^Why/);
    await ada.look("console-why");
    await ada.go("/console/clients");
    const before = (await ada.page.$$("section.card")).length;
    must(before > 0);
    await ada.page.select("select[name=agent]", "worker");
    await ada.press(/^Adopt/);
    await ada.go("/console/clients");
    must((await ada.page.$$("section.card")).length === before - 1);
  });
  if (hasScripts) {
    await check(`${title}: the audit explorer follows the log`, async () => {
      await ada.go("/console/audit");
      await ada.press("Follow", "Space");
      must((await ada.words()).includes("Stop following"));
    });
  }
  await check(`${title}: a grant is taken back with a click, and a person signs out`, async () => {
    await alice.go("/me/agents");
    await alice.click("form[action^='/me/grants/'] button");
    const said = await call(token, "add", { a: 1, b: 2 });
    must(!said.includes('"result"'), said);
    await alice.press("Sign out");
    await alice.look("signed-out");
    await alice.go("/me/agents");
    must(alice.page.url().includes("/sign-in"), alice.page.url());
  });
}

for (const hasScripts of [true, false]) {
  await check(`Chromium ${(await browser.version()).replace(/.*\//, "").split(".")[0]} with puppeteer-core ${version("puppeteer-core")}, axe-core ${version("axe-core")}: scripts ${hasScripts ? "on" : "off"}`, () => play(hasScripts));
}
await browser.close();
finish();
