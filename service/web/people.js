// Who is enrolled in a collection: found by the beginning of the name, renamed, merged, erased.

import { path } from "./api.js";
import { crop } from "./crops.js";
import { Desk } from "./desk.js";
import { act, askOnce, receiptOf } from "./dialogs.js";
import { button, count, element, field, moment, table } from "./elements.js";

const SHOWN = 24;
const PAUSE = 250; // milliseconds without a key pressed until it is searched

const placeOf = ({ collection, name }) => path`collections/${collection}/subjects/${name}`;

export function peopleView({ api, session, choices }) {
  let timer = 0;
  const later = () => {
    clearTimeout(timer);
    timer = setTimeout(() => desk.press(), PAUSE);
  };
  const prefix = element("input", { id: "prefix", type: "search", maxlength: 200, oninput: later });
  const outcome = element("div", { class: "outcome", "aria-live": "polite" });
  const desk = new Desk(api, { inputs: [field("Name begins with", prefix)], wide: true });

  const pageOf = (collection, cursor) => {
    const query = new URLSearchParams({
      limit: SHOWN,
      ...(prefix.value && { prefix: prefix.value }),
      ...(cursor && { cursor }),
    });
    return { path: `${path`collections/${collection}/subjects`}?${query}` };
  };

  async function list(ask) {
    const collection = choices.collection;
    const page = await ask(pageOf(collection));
    const cards = element("ul", { class: "cards" }, ...page.items.map(card));
    const nodes = [element("h3", {}, headline(page, collection, prefix.value)), cards];
    if (page.items.length && !session.keepsCrops(collection))
      nodes.splice(
        1,
        0,
        element("p", { class: "soft" }, "This collection keeps no crops, so there are no pictures of its people."),
      );
    let next = page.next_cursor;
    const more = button(
      "More",
      async () => {
        more.disabled = true;
        try {
          const following = await api.ask(pageOf(collection, next));
          cards.append(...following.items.map(card));
          next = following.next_cursor;
          more.hidden = next === null;
        } catch (error) {
          desk.message.textContent = error.message;
        } finally {
          more.disabled = false;
        }
      },
      { hidden: next === null },
    );
    return [...nodes, more];
  }

  function card(person) {
    const first = async () => (await api.ask({ path: `${placeOf(person)}/faces?limit=1` })).items[0]?.id ?? null;
    const buttons = [
      button("Faces", () => showFaces(person), { class: "quiet" }),
      session.may("enrol") && button("Rename", () => rename(person), { class: "quiet" }),
      session.may("enrol") && button("Merge", () => merge(person), { class: "quiet" }),
      session.may("delete") && button("Erase", () => erase(person), { class: "quiet" }),
    ].filter(Boolean);
    for (const each of buttons) each.setAttribute("aria-label", `${each.textContent}: ${person.name}`);
    return element(
      "li",
      { class: "card" },
      crop(api, person.collection, person.name, session.keepsCrops(person.collection) ? first : async () => null),
      element(
        "div",
        {},
        element("strong", {}, person.name),
        element("small", {}, count(person.faces, "face")),
        element("div", { class: "actions" }, ...buttons),
      ),
    );
  }

  async function changed(node) {
    outcome.replaceChildren(node);
    await desk.press();
    outcome.scrollIntoView({ block: "nearest" });
  }

  async function rename(person) {
    const name = element("input", { id: "new-name", value: person.name, maxlength: 200 });
    const request = () => {
      if (!name.value.trim()) throw new Error("Type the new name first.");
      return { method: "PATCH", path: placeOf(person), json: { name: name.value.trim() } };
    };
    const renamed = await askOnce(api, {
      title: `Rename ${person.name}`,
      nodes: [field("New name", name)],
      confirm: "Rename",
      request,
    });
    if (renamed)
      await changed(
        element("div", {}, element("p", {}, `${person.name} is now ${renamed.answer.name}.`), ...renamed.trace),
      );
  }

  async function merge(person) {
    const other = element("input", { id: "other-name", maxlength: 200 });
    const text = `All faces of the other become faces of ${person.name}, and the other is no more. This cannot be undone.`;
    const request = () => {
      if (!other.value.trim()) throw new Error("Type the name of the other first.");
      return { method: "POST", path: `${placeOf(person)}/merge`, json: { other: other.value.trim() } };
    };
    const merged = await askOnce(api, {
      title: `Who else is ${person.name}?`,
      nodes: [element("p", {}, text), field("Name of the other", other)],
      confirm: "Merge",
      danger: true,
      request,
    });
    if (!merged) return;
    const told = `${person.name} has ${count(merged.answer.subject.faces, "face")} now, ${merged.answer.faces} of them from ${other.value.trim()}.`;
    await changed(element("div", {}, element("p", {}, told), ...merged.trace));
  }

  async function erase(person) {
    const text = `${person.name} goes with ${count(person.faces, "face")} and all templates, and is found by no search any more. This cannot be undone.`;
    const request = () => ({ method: "DELETE", path: placeOf(person) });
    const erased = await askOnce(api, {
      title: `Erase ${person.name}?`,
      nodes: [element("p", {}, text)],
      confirm: "Erase",
      danger: true,
      request,
    });
    if (erased) await changed(receiptOf(erased, person.name));
  }

  async function showFaces(person) {
    const rows = element("div", {});
    let erased = null; // the last face
    const load = async () => {
      const { items } = await api.ask({ path: `${placeOf(person)}/faces?limit=1000` });
      rows.replaceChildren(
        table(
          `Faces of ${person.name}`,
          ["Face", "Enrolled", "Eye distance, px", "Templates", ""],
          items.map((face) => [
            crop(api, person.collection, person.name, async () =>
              session.keepsCrops(person.collection) ? face.id : null,
            ),
            moment(face.created_at),
            Math.round(face.quality.eye_distance ?? 0),
            face.models.length,
            session.may("delete")
              ? button("Erase", () => remove(face), {
                  class: "quiet",
                  "aria-label": `Erase the face of ${moment(face.created_at)}`,
                })
              : "",
          ]),
        ),
      );
    };
    const show = () => load().catch((error) => rows.replaceChildren(element("p", { class: "message" }, error.message)));
    const remove = async (face) => {
      const request = () => ({ method: "DELETE", path: path`collections/${person.collection}/faces/${face.id}` });
      const done = await askOnce(api, {
        title: "Erase this face?",
        nodes: [element("p", {}, `${person.name} stays. This cannot be undone.`)],
        confirm: "Erase",
        danger: true,
        request,
      });
      if (!done) return;
      erased = done;
      await show();
    };
    await show();
    await act({
      title: `Faces of ${person.name}`,
      nodes: [rows],
      confirm: "Close",
      cancel: false,
      work: async () => true,
    });
    if (erased) await changed(receiptOf(erased, `A face of ${person.name}`));
  }

  desk.add("Search", list, { id: "search" });
  desk.node.insertBefore(outcome, desk.answer);
  const forget = () => outcome.replaceChildren();
  prefix.addEventListener("input", forget);
  return {
    heading: "People",
    nodes: [desk.node],
    desk,
    choices: ["collection"],
    shown: () => desk.press(),
    chosen: () => {
      forget();
      desk.press();
    },
  };
}

function headline({ items, next_cursor: next }, collection, prefix) {
  if (items.length === 0)
    return prefix
      ? `Nobody in ${collection} has a name that begins with “${prefix}”.`
      : `Nobody is enrolled in ${collection} yet.`;
  return next === null
    ? `${count(items.length, "person", "people")} in ${collection}`
    : `The first ${items.length} people in ${collection}`;
}
