// The console: takes the key, offers what it may do, and shows one view at a time. All it does is a call of the public API.

import { Api } from "./api.js";
import { Choices } from "./choices.js";
import { collectionsView } from "./collections.js";
import { element } from "./elements.js";
import { enrolView } from "./enrol.js";
import { identifyView } from "./identify.js";
import { keysView } from "./keys.js";
import { liveView } from "./live.js";
import { modelsView } from "./models.js";
import { peopleView } from "./people.js";
import { receivePhotographs } from "./photographs.js";
import { Session, isRefusal } from "./session.js";
import { verifyView } from "./verify.js";

const KEPT = "facet-key"; // in this tab

// Name in the address, title, the scope that it needs, and what makes it.
const VIEWS = [
  ["verify", "Verify", "verify", verifyView],
  ["identify", "Identify", "identify", identifyView],
  ["enrol", "Enrol", "enrol", enrolView],
  ["people", "People", "read", peopleView],
  ["collections", "Collections", "read", collectionsView],
  ["models", "Models", null, modelsView],
  ["live", "Live", "read", liveView],
  ["keys", "Keys", null, keysView],
];

const byId = (id) => document.getElementById(id);

class Console {
  #session = null;
  #views = new Map(); // those that this key may see, made when they are first shown
  #current = null;
  #attempt = 0;

  // Take a key. What was shown of another one is gone before anything is asked.
  async enter(text) {
    this.#close();
    const attempt = ++this.#attempt;
    const api = new Api(text);
    byId("key-message").textContent = "";
    try {
      const session = await Session.open(api);
      if (attempt === this.#attempt) this.#open(session);
    } catch (error) {
      if (attempt !== this.#attempt) return;
      if (text || !isRefusal(error)) byId("key-message").textContent = error.message;
      byId("key").focus();
    }
    if (attempt === this.#attempt) document.body.dataset.state = this.#session ? "ready" : "closed";
  }

  #close() {
    this.#session = this.#current = null;
    this.#views.clear();
    document.body.dataset.state = "opening";
    byId("view").replaceChildren();
    byId("choices").replaceChildren();
    byId("key-state").textContent = "";
    for (const id of ["views", "choices", "change-key"]) byId(id).hidden = true;
    for (const id of ["welcome", "key-form"]) byId(id).hidden = false;
  }

  #open(session) {
    const { api, key } = session;
    sessionStorage.setItem(KEPT, api.key);
    this.#session = session;
    this.choices = new Choices(byId("choices"), session);
    byId("choices").oninput = () => this.#chosen();
    for (const [name, title, scope, make] of VIEWS)
      if (scope === null || session.may(scope)) this.#views.set(name, { title, make, view: null });
    byId("views").replaceChildren(
      ...[...this.#views].map(([name, { title }]) => element("a", { href: `#${name}` }, title)),
    );
    for (const id of ["welcome", "key-form"]) byId(id).hidden = true;
    for (const id of ["views", "change-key"]) byId(id).hidden = false;
    byId("key").value = "";
    byId("key-state").textContent =
      `${key.id === null ? "No key is needed here" : `Key ${key.id} (${key.name})`}: ${key.scopes.join(", ")}${key.collections === null ? "" : ` in ${key.collections.join(", ")}`}`;
    this.show();
  }

  // Show the view that the address names, or the first.
  show() {
    if (!this.#session) return;
    const named = location.hash.slice(1);
    const name = this.#views.has(named) ? named : [...this.#views.keys()][0];
    const entry = this.#views.get(name);
    const { api } = this.#session;
    const context = {
      api,
      session: this.#session,
      choices: this.choices,
      go: (to) => {
        location.hash = to;
      },
      change: () => this.change(),
    };
    entry.view ??= entry.make(context);
    this.#current = entry.view;
    document.title = `${entry.title} - Facet`;
    for (const link of byId("views").children) {
      if (link.hash === `#${name}`) link.setAttribute("aria-current", "page");
      else link.removeAttribute("aria-current");
    }
    const { heading, nodes, choices = [], shown = () => {} } = this.#current;
    byId("choices").hidden = choices.length === 0;
    this.choices.show(choices);
    byId("view").replaceChildren(element("h2", {}, heading), ...nodes);
    shown();
  }

  // Another model, rate or collection: what was answered with the one before is stale in every view.
  #chosen() {
    for (const { view } of this.#views.values()) view?.desk?.clear();
    this.#current.chosen?.();
  }

  change() {
    sessionStorage.removeItem(KEPT);
    this.#attempt += 1;
    this.#close();
    document.body.dataset.state = "closed";
    byId("key").focus();
  }

  get receiving() {
    const desk = this.#current?.desk;
    return { photographs: (desk?.photographs ?? []).filter(({ node }) => !node.hidden), busy: desk?.busy ?? true };
  }
}

const page = new Console();
receivePhotographs(() => page.receiving);
byId("key-form").addEventListener("submit", (event) => {
  event.preventDefault();
  const text = byId("key").value.trim();
  if (text) page.enter(text);
  else byId("key-message").textContent = "Paste a key first.";
});
byId("choices").addEventListener("submit", (event) => event.preventDefault());
byId("change-key").addEventListener("click", () => page.change());
window.addEventListener("hashchange", () => page.show());
page.enter(sessionStorage.getItem(KEPT) ?? "");
