// A place to ask at: inputs, buttons with the message beside them, and the answer, with its JSON and its curl line.
// An answer goes as soon as anything that it was asked with changes, and an answer on its way then is not shown.

import { button, element } from "./elements.js";
import { recording, traces } from "./traces.js";

export class Desk {
  #turn = 0;
  #leaving = new AbortController();
  #writing = false;
  #held = null;
  #first = null;

  constructor(api, { inputs = [], photographs = [], wide = false }) {
    this.api = api;
    this.photographs = photographs;
    this.inputs = element("div", { class: "inputs", oninput: () => this.clear() }, ...inputs);
    this.actions = element("div", { class: "actions" });
    this.message = element("p", { class: "message", role: "alert" });
    this.answer = element("section", { class: "answer", "aria-live": "polite", "aria-label": "Answer" });
    const submit = (event) => {
      event.preventDefault();
      if (this.#first) this.run(this.#first);
    };
    const asking = element(
      "form",
      { class: "asking", novalidate: true, autocomplete: "off", onsubmit: submit },
      this.inputs,
      this.actions,
      this.message,
    );
    this.node = element("div", { class: wide ? "desk wide" : "desk" }, asking, this.answer);
  }

  // Add a button. `work` is given a function that asks the API, and returns the answer's nodes, or the nodes and marks on
  // the photographs. The first button is also pressed by Enter in a text field. Work that writes is never given up.
  add(text, work, { id = null, writes = false } = {}) {
    const job = { work, writes };
    if (this.#first === null) {
      this.#first = job;
      this.actions.append(element("button", { id, class: "primary" }, text));
    } else {
      this.actions.append(button(text, () => this.run(job), { id }));
    }
    return this;
  }

  clear() {
    this.#turn += 1;
    this.#leaving.abort();
    this.#leaving = new AbortController();
    this.#settle();
    this.message.textContent = "";
    this.answer.replaceChildren();
    this.photographs.forEach((photograph) => photograph.mark([]));
  }

  press() {
    return this.run(this.#first);
  }

  get busy() {
    return this.#writing;
  }

  async run({ work, writes = false }) {
    if (this.#writing) return;
    this.clear();
    const turn = this.#turn;
    const { signal } = this.#leaving;
    const calls = [];
    const ask = recording(this.api, calls, writes ? undefined : signal);
    this.#begin(writes);
    try {
      const made = await work(ask);
      if (turn === this.#turn) this.#show(made, calls);
    } catch (error) {
      if (turn === this.#turn) this.#fail(error, calls);
    }
  }

  #begin(writes) {
    this.#writing = writes;
    this.focused = document.activeElement;
    this.#held = this.node.closest("main"); // another view may stand in it by the end
    if (writes) this.#held.inert = true; // what is being written is not changed under way
    this.node.setAttribute("aria-busy", "true");
  }

  #settle() {
    if (this.#writing) {
      this.#writing = false;
      this.#held.inert = false;
      this.focused.focus({ preventScroll: true });
    }
    this.node.removeAttribute("aria-busy");
  }

  #show(made, calls) {
    this.#settle();
    const { nodes, marks = [] } = Array.isArray(made) ? { nodes: made } : made;
    this.answer.replaceChildren(...nodes, ...traces(this.api, calls));
    for (const [photograph, faces] of marks) photograph.mark(faces);
    this.answer.firstElementChild.scrollIntoView({ block: "nearest" }); // with room below it, by its scroll margin
  }

  #fail(error, calls) {
    this.#settle();
    this.message.textContent = error.message;
    this.answer.replaceChildren(
      ...traces(
        this.api,
        calls.filter(({ answer }) => answer !== null),
      ),
    );
    this.message.scrollIntoView({ block: "nearest" });
  }
}
