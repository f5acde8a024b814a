// A browser without scripts: cookies, redirects, plain forms. It knows two places, Chancery and identity providers, and
// stops when it is sent anywhere else, with the address it was sent to.

const REFERENCES = { "&lt;": "<", "&gt;": ">", "&quot;": '"', "&amp;": "&" };
const plain = (text) =>
  text.replace(/&#(\d+);/g, (_, code) => String.fromCharCode(code)).replace(/&(lt|gt|quot|amp);/g, (found) => REFERENCES[found]);

const attributes = (tag) =>
  Object.fromEntries([...tag.matchAll(/([a-z-]+)(?:="([^"]*)")?/g)].map(([, name, value]) => [name, plain(value ?? "")]));

/** The forms of a page: where they go, their fields, their buttons. */
function formsOf(html, address) {
  return [...html.matchAll(/<form([^>]*)>([\s\S]*?)<\/form>/g)].map(([, head, body]) => {
    const { action, method } = attributes(head);
    const fields = [...body.matchAll(/<(?:input|textarea)([^>]*)>/g)].map(([, tag]) => attributes(tag));
    const buttons = [...body.matchAll(/<button([^>]*)>([\s\S]*?)<\/button>/g)].map(([, tag, text]) => ({
      ...attributes(tag),
      text: plain(text.replace(/<[^>]*>/g, "")).trim(),
    }));
    return { action: new URL(action ?? "", address), method: method ?? "get", fields, buttons };
  });
}

export class Browser {
  #cookies = new Map();

  /** `places`: origins that are visited. */
  constructor(places) {
    this.places = places;
  }

  /** Visits an address, and on along redirects. False if it leads away; `address` then says where. */
  async visit(address, options = {}) {
    for (let hops = 0; hops < 15; hops += 1) {
      this.address = new URL(address);
      if (!this.places.includes(this.address.origin)) return false;
      const { origin } = this.address;
      const kept = this.#cookies.get(origin) ?? new Map();
      this.#cookies.set(origin, kept);
      const headers = { ...options.headers, cookie: [...kept].map((pair) => pair.join("=")).join("; ") };
      const response = await fetch(this.address, { ...options, headers, redirect: "manual" });
      for (const set of response.headers.getSetCookie()) {
        const [, name, value] = set.match(/^([^=]+)=([^;]*)/);
        if (/max-age=0|expires=thu, 01 jan 1970/i.test(set)) kept.delete(name);
        else kept.set(name, value);
      }
      this.status = response.status;
      this.html = await response.text();
      const location = response.headers.get("location");
      if (!location) return true;
      address = new URL(location, this.address);
      options = {};
    }
    throw new Error(`redirected in a circle at ${this.address}`);
  }

  /** The first form that a function accepts. */
  form(accepts) {
    return formsOf(this.html, this.address).find(accepts);
  }

  /** Where a link with this text leads. */
  link(text) {
    const links = [...this.html.matchAll(/<a([^>]*)>([\s\S]*?)<\/a>/g)];
    const found = links.find(([, , inside]) => plain(inside.replace(/<[^>]*>/g, "")).trim() === text);
    return found && new URL(attributes(found[1]).href, this.address);
  }

  /** Sends a form, with changes, by a button. A field is left out where `drops` says so. */
  submit(form, button, changes = {}, drops = () => false) {
    const pairs = new URLSearchParams();
    for (const field of form.fields) {
      const isOff = ["checkbox", "radio"].includes(field.type) && !("checked" in field);
      if (field.name && !isOff && !drops(field)) pairs.append(field.name, changes[field.name] ?? field.value ?? "");
    }
    if (button?.name) pairs.append(button.name, button.value);
    const site = form.action.origin === this.address.origin ? "same-origin" : "cross-site";
    const headers = { "sec-fetch-site": site, origin: "null" };
    return this.visit(form.action, { method: "POST", body: pairs, headers });
  }

  /** The page in words, for what went wrong. */
  words() {
    return plain(this.html.replace(/<[^>]*>/g, " ")).replace(/\s+/g, " ").trim().slice(0, 400);
  }
}
