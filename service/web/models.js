// The models, and their roles: which one answers, which one is tried beside it.

import { Desk } from "./desk.js";
import { element, field, moment, options, table } from "./elements.js";
import { nameOf } from "./session.js";

const PAST = 10;

export const roleName = (model) =>
  model === null ? "none" : model.name === null ? model.digest.slice(0, 12) : nameOf(model);

const percent = (value) => `${Number((100 * value).toFixed(1))} %`;

const ACTIONS = { settings: "by the settings", set: "set", promote: "promoted", rollback: "rolled back" };

export function modelsView({ api, session, choices }) {
  const changing = session.may("admin") && session.everywhere;
  const champion = element("select", { id: "champion" });
  const challenger = element("select", { id: "challenger" });
  const sample = element("input", { id: "sample", type: "number", min: 0, max: 100, step: 1 });
  const known = element("div", { class: "outcome" });
  const inputs = [
    element(
      "div",
      { class: "row" },
      field("Champion (answers)", champion),
      field("Challenger (is tried)", challenger),
      field("On % of requests", sample),
    ),
  ];
  const desk = new Desk(api, { inputs: changing ? inputs : [], wide: true });
  let version = 0; // of what is shown of the roles

  async function refresh() {
    version += 1;
    const current = version;
    await session.reload();
    const roles = session.may("read") ? await api.ask({ path: "roles" }) : null;
    const past = session.may("read") ? (await api.ask({ path: `roles/history?limit=${PAST}` })).items : [];
    if (current !== version) return;
    choices.offer();
    known.replaceChildren(...described(session.models, roles), ...history(past));
    if (!changing) return;
    const names = session.embedders.map(({ manifest }) => [nameOf(manifest), nameOf(manifest)]);
    options(champion, names);
    options(challenger, [["none", ""], ...names]);
    champion.value = roleName(roles.champion);
    challenger.value = roles.challenger === null ? "" : roleName(roles.challenger);
    sample.value = Number((100 * roles.sample).toFixed(3));
  }

  // What was changed before stands, whatever becomes of the list.
  async function shown() {
    desk.message.textContent = "";
    await refresh().catch((error) => {
      desk.message.textContent = error.message;
    });
  }

  const change = (request) => async (ask) => {
    const roles = await ask(request());
    await shown();
    return [
      element(
        "h3",
        { class: "match" },
        `${roleName(roles.champion)} answers; ${roles.challenger === null ? "nothing is tried beside it" : `${roleName(roles.challenger)} is tried on ${percent(roles.sample)} of the requests`}`,
      ),
    ];
  };

  const set = () => {
    const json = { champion: champion.value, challenger: challenger.value || null, sample: Number(sample.value) / 100 };
    return { method: "PUT", path: "roles", json };
  };

  if (changing) {
    desk.add("Set roles", change(set), { id: "set-roles", writes: true });
    desk.add(
      "Promote the challenger",
      change(() => ({ method: "POST", path: "roles/promote" })),
      { id: "promote", writes: true },
    );
    desk.add(
      "Roll back",
      change(() => ({ method: "POST", path: "roles/rollback" })),
      { id: "rollback", writes: true },
    );
  }
  const nodes = changing ? [desk.node, known] : [known, desk.message];
  return {
    heading: "Models",
    nodes,
    desk,
    shown,
  };
}

function described(models, roles) {
  const role = ({ manifest, loaded }) => {
    if (manifest.sha256 === roles?.champion.digest) return "champion";
    if (manifest.sha256 === roles?.challenger?.digest) return "challenger";
    return loaded ? "ready" : "not loaded";
  };
  const rates = ({ supported_fmr: all }) => (all.length ? `${all[0]} to ${all.at(-1)}` : "");
  return [
    table(
      "Models",
      ["Model", "Kind", "State", "Size, MB", "False match rates", "Licence"],
      models.map((model) => [
        element("strong", {}, nameOf(model.manifest)),
        model.manifest.task,
        role(model),
        (model.manifest.cost.bytes / 1e6).toFixed(2),
        rates(model),
        model.manifest.licence.id,
      ]),
    ),
  ];
}

function history(past) {
  if (past.length === 0) return [];
  return [
    element("h3", {}, "Roles before"),
    table(
      "Roles before",
      ["When", "How", "By", "Champion", "Challenger", "Sample"],
      past.map((roles) => [
        roles.at ? moment(roles.at) : "",
        ACTIONS[roles.action] ?? roles.action,
        roles.principal,
        roleName(roles.champion),
        roleName(roles.challenger),
        percent(roles.sample),
      ]),
    ),
  ];
}
