// What champion and challenger made of the same live requests, for keys that may read.

import { path } from "./api.js";
import { Desk } from "./desk.js";
import { button, element, field, options, table } from "./elements.js";
import { roleName } from "./models.js";
import { plots } from "./plots.js";

const CASES = 10;
const PLOTTED = 500;
const HOURS = { "the last hour": 1, "the last day": 24, "the last week": 168 };

const percent = (value) => `${(100 * value).toFixed(1)} %`;

function share({ count, trials, share: value, ci95 }) {
  return trials === 0 ? "-" : `${percent(value)} (${percent(ci95[0])} to ${percent(ci95[1])}), ${count} of ${trials}`;
}

function seconds(model) {
  return [
    roleName(model),
    ...["p50", "p95", "p99"].map((name) => (name in model.seconds ? (1000 * model.seconds[name]).toFixed(1) : "-")),
  ];
}

function observed(model) {
  return model.observed.map((each) => [
    roleName(model),
    each.route,
    share(each.false_match),
    each.promised === null ? "-" : percent(each.promised),
    share(each.false_non_match),
  ]);
}

export function liveView({ api, session }) {
  const period = element("select", { id: "period" });
  options(period, [["all that is kept", ""], ...Object.keys(HOURS).map((name) => [name, name])]);
  const kind = element("select", { id: "kind" });
  options(kind, [
    ["both", ""],
    ["verifications", "verify"],
    ["identifications", "identify"],
  ]);
  const place = element("select", { id: "place" });
  options(place, [["all", ""], ...(session.collections ?? []).map(({ name }) => [name, name])]);
  const filters = element(
    "div",
    { class: "row" },
    field("Period", period),
    field("Kind", kind),
    field("Collection", place),
  );
  const desk = new Desk(api, { inputs: [filters], wide: true });

  const query = (more = {}) => {
    const chosen = { route: kind.value, collection: place.value, ...more };
    if (period.value) chosen.since = new Date(Date.now() - 3_600_000 * HOURS[period.value]).toISOString();
    return new URLSearchParams(Object.entries(chosen).filter(([, value]) => value !== ""));
  };

  async function compare(ask) {
    const roles = await ask({ path: "roles" });
    const made = await ask({ path: `comparisons?${query()}` });
    const champion = roleName(roles.champion);
    if (roles.challenger === null) {
      return [
        element("h3", {}, `${champion} decides; nothing is tried beside it`),
        element(
          "p",
          {},
          `${percent(roles.sample)} of its decisions are kept: ${made.cases} so far. An admin names a challenger under Models.`,
        ),
      ];
    }
    const challenger = roleName(roles.challenger);
    const nodes = [
      element("h3", {}, `${champion} decides, ${challenger} is tried on ${percent(roles.sample)} of the requests`),
      element(
        "p",
        {},
        `Agreement ${share(made.agreement)}; the interval is of 95 %. Correlation of scores ${made.correlation === null ? "-" : made.correlation.toFixed(3)}.`,
      ),
    ];
    const { both_match: both, only_champion: first, only_challenger: second, neither } = made.decisions;
    nodes.push(
      table(
        "Decisions",
        ["Decisions", `${challenger} matches`, "does not"],
        [
          [`${champion} matches`, both, first],
          ["does not", second, neither],
        ],
      ),
      table(
        "Latency",
        ["Milliseconds to embed and search", "p50", "p95", "p99"],
        [seconds(made.champion), seconds(made.challenger)],
      ),
    );
    const truth = [...observed(made.champion), ...observed(made.challenger)];
    if (truth.length)
      nodes.push(
        table("Errors", ["Told the truth about", "Decisions", "False matches", "Promised", "False non-matches"], truth),
      );
    const cases = await ask({ path: `comparisons/cases?${query({ limit: PLOTTED, disagreeing: false })}` });
    nodes.push(...plots(cases.items, champion, challenger));
    const apart = await ask({ path: `comparisons/cases?${query({ limit: CASES })}` });
    if (apart.items.length) {
      nodes.push(
        element("h3", {}, "The latest disagreements"),
        table(
          "The latest disagreements",
          ["When", "Kind", champion, challenger, "It was", "Request"],
          apart.items.map(disagreement),
        ),
      );
    }
    return nodes;
  }

  function disagreement(one) {
    const side = (score, threshold, decision) =>
      `${decision.replace("_", " ")}, ${score === null ? "no score" : score.toFixed(3)} at ${threshold.toFixed(3)}`;
    return [
      new Date(one.at).toLocaleString(),
      `${one.route}${one.collection === null ? "" : `, ${one.collection}`}`,
      side(one.champion_score, one.champion_threshold, one.champion_decision),
      side(one.challenger_score, one.challenger_threshold, one.challenger_decision),
      truth(one),
      element("code", { title: one.request_id }, one.request_id.slice(0, 8)),
    ];
  }

  // What was true of a decision, to be told by those who may decide so; the last word holds.
  function truth(one) {
    if (!session.may(one.route)) return one.outcome ?? "";
    const node = element("div", { class: "actions" });
    const tell = async (outcome) => {
      desk.message.textContent = "";
      try {
        one.outcome = (
          await api.ask({
            method: "POST",
            path: path`decisions/${one.request_id}/outcome`,
            json: { outcome, face: one.face },
          })
        ).outcome;
        show();
      } catch (error) {
        node.append(element("span", { class: "message", role: "alert" }, error.message));
      }
    };
    const choice = (text, outcome) =>
      button(text, () => tell(outcome), { class: "quiet", "aria-pressed": String(one.outcome === outcome) });
    const show = () => node.replaceChildren(choice("the person", "genuine"), choice("somebody else", "impostor"));
    show();
    return node;
  }

  desk.add("Refresh", compare, { id: "live" });
  desk.node.addEventListener("input", () => desk.press());
  return { heading: "Champion and challenger on live requests", nodes: [desk.node], desk, shown: () => desk.press() };
}
