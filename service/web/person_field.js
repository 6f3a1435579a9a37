// The name of somebody enrolled, with names to choose from where the key may read them.

import { path } from "./api.js";
import { element, field } from "./elements.js";

const OFFERED = 20;
const PAUSE = 250; // milliseconds without a key pressed until names are asked for

export function personField(api, session, choices) {
  const names = element("datalist", { id: "people-offered" });
  let timer = 0;
  const offer = async () => {
    const query = new URLSearchParams({ limit: OFFERED, prefix: input.value });
    const page = await api
      .ask({ path: `${path`collections/${choices.collection}/subjects`}?${query}` })
      .catch(() => ({ items: [] }));
    names.replaceChildren(...page.items.map(({ name }) => new Option(name)));
  };
  const later = () => {
    clearTimeout(timer);
    if (session.may("read")) timer = setTimeout(() => offer().catch(() => {}), PAUSE);
  };
  const input = element("input", {
    id: "person",
    list: "people-offered",
    maxlength: 200,
    oninput: later,
    onfocus: later,
  });
  return {
    node: element(
      "div",
      { hidden: true },
      field("Name of the person", input, "As it was enrolled, in the collection chosen above."),
      names,
    ),
    // Raises an Error where no name is given.
    require() {
      if (input.value.trim()) return input.value.trim();
      throw new Error("Type the name of the person first.");
    },
  };
}
