// The key in use, and how others are made: beside the service, by its command, so that no stolen key makes another.

import { button, checkbox, element, facts, field, moment } from "./elements.js";
import { snippet } from "./traces.js";

const SCOPES = {
  enrol: "enrol people, rename them",
  verify: "verify, find faces, embed",
  identify: "identify",
  read: "list and read collections, people and faces; see live comparisons",
  delete: "erase people and faces",
  admin: "everything; make and erase collections, change models and roles, list receipts, read the audit log",
};

const quoted = (word) => (/^[\w.-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`);

export function keysView({ session, change }) {
  const { key } = session;
  const own = [
    element("h3", {}, "This key"),
    facts([
      ["Id", key.id ?? "none: this service asks for no key"],
      ["Made for", key.name],
      ["May", key.scopes.map((scope) => `${scope}: ${SCOPES[scope]}`).join("; ")],
      ["Collections", key.collections?.join(", ") ?? "all"],
      ["Ends", key.expires_at ? moment(key.expires_at) : "never"],
    ]),
    element("div", { class: "actions" }, button("Use another key", change)),
  ];
  return {
    heading: "Keys",
    nodes: [element("div", { class: "panel" }, ...own), ...(session.may("admin") ? [composer(session)] : [])],
  };
}

// A command line that grows as its parts are chosen.
function composer(session) {
  const name = element("input", { id: "key-name", value: "front desk", maxlength: 200 });
  const scopes = Object.entries(SCOPES).map(([scope, text]) =>
    checkbox(`${scope}: ${text}`, { value: scope, name: "scope", checked: scope === "verify" }),
  );
  const places = (session.collections ?? []).map((each) =>
    checkbox(each.name, { value: each.name, name: "collection" }),
  );
  const days = element("input", { id: "key-days", type: "number", min: 1, value: 90 });
  const command = element("div", {});
  const chosen = (boxes) =>
    boxes
      .map((box) => box.querySelector("input"))
      .filter((box) => box.checked)
      .map((box) => box.value);
  const write = () => {
    const words = [
      "facet keys create",
      quoted(name.value.trim() || "NAME"),
      ...chosen(scopes).map((scope) => `--scope ${scope}`),
    ];
    words.push(...chosen(places).map((place) => `--collection ${quoted(place)}`));
    if (Number(days.value) >= 1) words.push(`--days ${Number(days.value)}`);
    command.replaceChildren(snippet(words.join(" "), "Command that makes the key"));
  };
  write();
  return element(
    "form",
    { class: "panel", oninput: write, onsubmit: (event) => event.preventDefault() },
    element("h3", {}, "Make a key"),
    element(
      "p",
      {},
      "Keys are made on the service's own machine, so that a stolen key cannot make others. Choose what the key may do, and run the command there; it prints the key once.",
    ),
    element(
      "div",
      { class: "row" },
      field("What it is for", name),
      field("Days until it ends", days, "Empty: it never ends."),
    ),
    element("fieldset", {}, element("legend", {}, "It may"), ...scopes),
    places.length
      ? element("fieldset", {}, element("legend", {}, "In these collections only (none chosen: in all)"), ...places)
      : null,
    command,
    element("h3", {}, "List and revoke"),
    element("p", {}, "A revoked key ends at once, also for requests to a running service."),
    snippet("facet keys list\nfacet keys revoke ID", "Commands that list and revoke keys"),
  );
}
