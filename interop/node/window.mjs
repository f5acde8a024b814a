// One person's browser window, which looks at every page in every way: with axe, at two widths, in both colour schemes.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { check, context, must } from "./report.mjs";

const AXE = readFileSync(new URL("./node_modules/axe-core/axe.min.js", import.meta.url), "utf8");
const base = context.issuer;

/** One person's browser window. */
export class Window {
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

  /** Says yes to what a provider asks, by clicks; whoever is not signed in there does that first. */
  async agreeAt(url, who) {
    must(this.page.url().startsWith(url), this.page.url());
    if (await this.page.$("input[name=login]")) {
      await this.page.type("input[name=login]", who);
      await this.page.type("input[name=password]", "any");
      await this.click("button[type=submit]");
    }
    await this.click("button[type=submit]");
  }

  words() {
    return this.page.evaluate(() => document.body.innerText);
  }

  /** Signs in at the company, by keyboard. */
  async signIn(who) {
    await this.press(context.provider);
    await this.agreeAt("http://127.0.0.1", who);
    must(this.page.url().startsWith(base) || this.page.url().includes("/callback"), this.page.url());
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
