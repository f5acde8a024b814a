// A person whom programs send to an address: signs in at the company's provider, answers what Chancery asks, and says
// where the browser was sent in the end. Arguments: port, and the origins of Chancery and the providers. One browser for
// each `who`, so that a person stays signed in. Query: url, who, through (the sign-in choice), take (a scope to take away).
import { createServer } from "node:http";
import { Browser } from "./browser.mjs";

const [port, ...places] = process.argv.slice(2);
const browsers = new Map();

async function drive(browser, { url, who, through, take, answer = "Allow" }) {
  let stays = await browser.visit(url);
  for (let pages = 0; stays && pages < 12; pages += 1) {
    const login = browser.form(({ fields }) => fields.some(({ name }) => name === "login"));
    const consent = browser.form(({ buttons }) => buttons.some(({ text }) => text === answer));
    const goOn = browser.form(({ fields }) => fields.some(({ name, value }) => name === "prompt" && value === "consent"));
    const device = browser.form(({ fields }) => fields.some(({ name, value }) => name === "user_code" && value));
    const choice = through && browser.link(through);
    if (login) stays = await browser.submit(login, undefined, { login: who, password: "any" });
    else if (goOn) stays = await browser.submit(goOn);
    else if (consent) {
      const button = consent.buttons.find(({ text }) => text === answer);
      const isTaken = ({ name, value }) => name === "scope" && take && value.endsWith(`:${take}`);
      stays = await browser.submit(consent, button, {}, isTaken);
    } else if (device) stays = await browser.submit(device);
    else if (choice) stays = await browser.visit(choice);
    else break;
  }
  if (!stays) return { location: browser.address.href };
  return { stopped: browser.address.href, status: browser.status, words: browser.words() };
}

createServer(async (request, response) => {
  const asked = Object.fromEntries(new URL(request.url, "http://person").searchParams);
  const key = asked.who ?? "";
  if (!browsers.has(key)) browsers.set(key, new Browser(places));
  const said = asked.url
    ? await drive(browsers.get(key), asked).catch((error) => ({ stopped: asked.url, words: `${error}` }))
    : {};
  response.setHeader("content-type", "application/json");
  response.end(JSON.stringify(said));
}).listen(Number(port), "127.0.0.1");
