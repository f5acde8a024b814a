// Every page in a real browser, Debian's Chromium: with scripts and without, by keyboard and by clicks, at two widths
// and in both colour schemes. axe finds nothing, nothing is asked of another origin, no rule of the Content Security
// Policy is broken, nothing is wider than the window. Screenshots are for people to look at.
import { execFileSync } from "node:child_process";
import { mkdirSync, readFileSync } from "node:fs";
import { createServer, request as httpRequest } from "node:http";
import { join } from "node:path";
import puppeteer from "puppeteer-core";
import { check, context, finish, must, version } from "./report.mjs";

const AXE = readFileSync(new URL("./node_modules/axe-core/axe.min.js", import.meta.url), "utf8");
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

async function question(client) {
  const verifier = "v".repeat(64);
  const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(verifier));
  const url = new URL(`${base}/authorize`);
  const parameters = {
    response_type: "code", client_id: client, redirect_uri: callback, resource: context.mcp, scope: "read write",
    state: crypto.randomUUID(), code_challenge_method: "S256", prompt: "consent",
    code_challenge: Buffer.from(digest).toString("base64url"),
  };
  for (const [name, value] of Object.entries(parameters)) url.searchParams.set(name, value);
  return { url: url.href, verifier };
}

async function redeem(client, verifier) {
  const form = {
    grant_type: "authorization_code", client_id: client, redirect_uri: callback, resource: context.mcp,
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

/** One person's browser window. */
class Window {
  static async open(browser, hasScripts, mark) {
    const own = await browser.createBrowserContext();
    const window = new Window();
    window.page = await own.newPage();
    window.mark = mark;
    window.hasScripts = hasScripts;
    window.faults = [];
    await window.page.setJavaScriptEnabled(hasScripts);
    const { page } = window;
    page.setDefaultTimeout(15_000);
    page.on("request", (request) => {
      const isOurs = page.url().startsWith(base) && !request.isNavigationRequest();
      const isOwn = request.url().startsWith(`${base}/`) || request.url().startsWith("data:");
      if (isOurs && !isOwn) window.faults.push(`asks ${request.url()}`);
    });
    page.on("console", (said) => {
      // A page that says no with a status of its own is told of in the console too.
      const isItself = said.text().startsWith("Failed to load resource") && said.location()?.url === page.url();
      if (page.url().startsWith(base) && said.type() === "error" && !isItself) window.faults.push(`console: ${said.text()}`);
    });
    page.on("pageerror", (error) => window.faults.push(`script: ${error.message}`));
    return window;
  }

  async go(path) {
    await this.page.goto(path.startsWith("http") ? path : `${base}${path}`, { waitUntil: "networkidle0" });
  }

  /** Moves the focus by the Tab key alone until it is on something with this text, then presses a key. */
  async press(text, key = "Enter") {
    const { page } = this;
    await page.focus("body").catch(() => {});
    for (let tabs = 0; tabs < 120; tabs += 1) {
      await page.keyboard.press("Tab");
      const seen = await page.evaluate(() => {
        const focused = document.activeElement;
        const label = focused.labels?.[0]?.textContent ?? focused.textContent ?? "";
        const outline = getComputedStyle(focused);
        return { label: label.replace(/\s+/g, " ").trim(), name: focused.getAttribute("name"), outline: outline.outlineStyle };
      });
      if (!(typeof text === "string" ? seen.label.startsWith(text) || seen.name === text : text.test(seen.label))) continue;
      must(seen.outline !== "none", `no focus to be seen on ${seen.label}`);
      const leads = key === "Enter";
      const moved = leads ? page.waitForNavigation({ waitUntil: "networkidle0" }) : undefined;
      await page.keyboard.press(key);
      await moved;
      return;
    }
    throw new Error(`the keyboard does not reach ${text} at ${page.url()}`);
  }

  async click(selector) {
    await Promise.all([this.page.waitForNavigation({ waitUntil: "networkidle0" }), this.page.click(selector)]);
  }

  words() {
    return this.page.evaluate(() => document.body.innerText);
  }

  /** Signs in at the company, by keyboard. */
  async signIn(who) {
    await this.press(context.provider);
    await this.page.type("input[name=login]", who);
    await this.page.type("input[name=password]", "any");
    await this.click("button[type=submit]");
    await this.click("button[type=submit]");
    must(this.page.url().startsWith(base) || this.page.url().startsWith(callback), this.page.url());
  }

  /** Looks at the page in every way. */
  async look(name) {
    const { page } = this;
    const title = `Chromium, scripts ${this.hasScripts ? "on" : "off"}: ${name}`;
    await check(title, async () => {
      must(page.url().startsWith(base), page.url());
      const wide = [];
      for (const width of [390, 1200]) {
        await page.setViewport({ width, height: 844, deviceScaleFactor: 1 });
        for (const scheme of ["light", "dark"]) {
          await page.emulateMediaFeatures([{ name: "prefers-color-scheme", value: scheme }]);
          const over = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
          if (over > 0) wide.push(`${over} px too wide at ${width}`);
          if (this.hasScripts) {
            await page.screenshot({ path: join(context.screenshots, `${name}-${width}-${scheme}.png`), fullPage: true });
            const before = this.faults.length;
            await page.evaluate(AXE);
            const { violations } = await page.evaluate(() => axe.run(document, { resultTypes: ["violations"] }));
            // What axe itself does to look is no fault of the page.
            this.faults.length = before;
            for (const { id, nodes } of violations) wide.push(`axe ${id} (${scheme}, ${width}): ${nodes[0].html.slice(0, 160)}`);
          }
        }
      }
      const faults = [...this.faults.splice(0), ...wide];
      if (faults.length > 0) throw new Error(faults.join("; "));
      return page.url();
    });
  }
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
