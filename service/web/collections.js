// Collections: made, chosen, erased.

import { path } from "./api.js";
import { Desk } from "./desk.js";
import { askOnce, receiptOf } from "./dialogs.js";
import { button, checkbox, element, field, moment, table } from "./elements.js";

export function collectionsView({ api, session, choices, go }) {
  const name = element("input", { id: "collection-name", maxlength: 200 });
  const keep = checkbox(
    "Keep the aligned faces: people have pictures, and new models can be used without enrolling again",
    { id: "keep-crops" },
  );
  const list = element("div", { class: "outcome" });
  const making = session.may("admin");
  const desk = new Desk(api, { inputs: making ? [field("Name of a new collection", name), keep] : [], wide: true });

  async function create(ask) {
    const wanted = name.value.trim();
    if (!wanted) throw new Error("Type the name of the collection first.");
    const made = await ask({
      method: "POST",
      path: "collections",
      json: { name: wanted, keep_crops: keep.querySelector("input").checked },
    });
    name.value = "";
    await shown();
    choices.choose(made.name);
    return [element("h3", { class: "match" }, `${made.name} is made, and chosen`)];
  }

  async function refresh() {
    await session.reload();
    choices.offer();
    const { collections } = session;
    if (collections === null)
      list.replaceChildren(element("p", {}, "This key reaches every collection and may list none."));
    else if (collections.length === 0) list.replaceChildren(element("p", {}, "There is no collection yet."));
    else list.replaceChildren(table("Collections", ["Name", "Made", "Pictures", ""], collections.map(row)));
  }

  // What was done before stands, whatever becomes of the list.
  async function shown() {
    desk.message.textContent = "";
    await refresh().catch((error) => {
      desk.message.textContent = error.message;
    });
  }

  function row(each) {
    const buttons = [
      button(
        "Use",
        () => {
          choices.choose(each.name);
          go(session.may("read") ? "people" : "identify");
        },
        { class: "quiet", "aria-label": `Use ${each.name}` },
      ),
      making && button("Erase", () => erase(each), { class: "quiet", "aria-label": `Erase ${each.name}` }),
    ].filter(Boolean);
    return [
      element("strong", {}, each.name),
      each.created_at ? moment(each.created_at) : "",
      each.keep_crops ? "kept" : "not kept",
      element("div", { class: "actions" }, ...buttons),
    ];
  }

  async function erase({ name: collection }) {
    const typed = element("input", { id: "typed-name", autocapitalize: "off", spellcheck: "false" });
    const request = () => {
      if (typed.value !== collection) throw new Error(`Type ${collection} to erase it.`);
      return { method: "DELETE", path: path`collections/${collection}` };
    };
    const text = "Everybody enrolled in it is erased with it. This cannot be undone.";
    const erased = await askOnce(api, {
      title: `Erase the collection ${collection}?`,
      nodes: [element("p", {}, text), field(`Type its name, ${collection}`, typed)],
      confirm: "Erase",
      danger: true,
      request,
    });
    if (!erased) return;
    desk.clear();
    desk.answer.replaceChildren(receiptOf(erased, collection));
    await shown();
    desk.answer.scrollIntoView({ block: "nearest" });
  }

  if (making) desk.add("Make collection", create, { id: "create", writes: true });
  return {
    heading: "Collections",
    nodes: [desk.node, list],
    desk,
    shown,
  };
}
