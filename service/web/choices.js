// How to decide, and where: the model, the false match rate or score, and the collection.

import { element, field, options } from "./elements.js";
import { nameOf } from "./session.js";

const KEPT = "facet-collection"; // in this tab
const USUAL_RATE = "0.001"; // the service's own default; the highest rate is listed first
const USUAL_COLLECTION = "default"; // what the API takes where none is named

export class Choices {
  constructor(form, session) {
    this.session = session;
    this.model = element("select", { id: "model", onchange: () => this.#offerRates() });
    this.rate = element("select", { id: "rate", onchange: () => this.#offerThreshold() });
    this.threshold = element("input", {
      id: "threshold",
      type: "number",
      min: -1,
      max: 1,
      step: 0.01,
      value: "0.40",
      "aria-label": "Score",
      hidden: true,
    });
    this.place =
      session.collections === null
        ? element("input", { id: "collection", value: USUAL_COLLECTION, maxlength: 200 })
        : element("select", { id: "collection" });
    this.place.addEventListener("change", () => sessionStorage.setItem(KEPT, this.place.value));
    this.fields = {
      model: field("Model", this.model),
      rate: element("div", { class: "pair" }, field("Decide at", this.rate), this.threshold),
      collection: field("Collection", this.place),
    };
    form.replaceChildren(...Object.values(this.fields));
    this.offer();
  }

  // Which of them a view asks for.
  show(names) {
    for (const [name, node] of Object.entries(this.fields)) node.hidden = !names.includes(name);
  }

  offer() {
    const { embedders, collections } = this.session;
    const models = embedders.map(({ manifest }) => nameOf(manifest));
    const kept = this.model.value === this.usual ? null : this.model.value; // chosen by hand
    const usual = embedders.find((model) => model.default);
    this.usual = usual ? nameOf(usual.manifest) : models[0];
    options(
      this.model,
      models.map((name) => [name, name]),
    );
    this.model.value = models.includes(kept) ? kept : this.usual;
    this.#offerRates();
    if (collections === null) return;
    const names = collections.map(({ name }) => name);
    // With several and none usual nothing is chosen: a search in the wrong one would answer as if it were the right one.
    const likely = [sessionStorage.getItem(KEPT), names.length === 1 ? names[0] : USUAL_COLLECTION].find((name) =>
      names.includes(name),
    );
    const nothing = names.length ? "choose one" : "there is none";
    options(this.place, [...(likely === undefined ? [[nothing, ""]] : []), ...names.map((name) => [name, name])]);
    this.place.value = likely ?? "";
  }

  choose(collection) {
    sessionStorage.setItem(KEPT, collection);
    this.offer();
  }

  // The collection chosen. Raises an Error where none is.
  get collection() {
    if (this.place.value) return this.place.value;
    throw new Error(
      this.session.collections?.length === 0
        ? "There is no collection yet: make one under Collections."
        : "Choose a collection first.",
    );
  }

  // A form that says what to decide by.
  form(model = this.model.value) {
    const made = new FormData();
    made.set("model", model);
    if (this.rate.value === "threshold") made.set("threshold", this.threshold.value);
    else made.set("fmr", this.rate.value);
    return made;
  }

  #offerRates() {
    const chosen = this.session.embedders.find(({ manifest }) => nameOf(manifest) === this.model.value);
    const rates = (chosen?.supported_fmr ?? []).map((rate) => [`false match rate ${rate}`, String(rate)]);
    const kept = this.rate.value || USUAL_RATE;
    options(this.rate, [...rates, ["a score of", "threshold"]]);
    if ([...this.rate.options].some((option) => option.value === kept)) this.rate.value = kept;
    this.#offerThreshold();
  }

  #offerThreshold() {
    this.threshold.hidden = this.rate.value !== "threshold";
  }
}
