// What champion and challenger made of live requests, for whoever may read it.

const CASES = 10;
const named = (model) => (model.name === null ? model.digest.slice(0, 12) : `${model.name}@${model.version}`);
const percent = (value) => `${(100 * value).toFixed(1)} %`;

function share({ count, trials, share: value, ci95 }) {
  return trials === 0 ? "-" : `${percent(value)} (${percent(ci95[0])} to ${percent(ci95[1])}), ${count} of ${trials}`;
}

function seconds(model) {
  return [named(model), ...["p50", "p95", "p99"].map((name) => (name in model.seconds ? (1000 * model.seconds[name]).toFixed(1) : "-"))];
}

function observed(model) {
  return model.observed.map((each) => [
    named(model), each.route, share(each.false_match),
    each.promised === null ? "-" : percent(each.promised), share(each.false_non_match),
  ]);
}

function disagreement(one) {
  const side = (score, threshold, decision) => `${decision}, ${score === null ? "no score" : score.toFixed(3)} at ${threshold.toFixed(3)}`;
  return [
    new Date(one.at).toLocaleString(), one.route, one.collection ?? "two images", one.request_id,
    side(one.champion_score, one.champion_threshold, one.champion_decision),
    side(one.challenger_score, one.challenger_threshold, one.challenger_decision),
  ];
}

// The nodes to show. `call` asks the API; `element` and `table` make nodes.
export async function liveComparison({ call, element, table }) {
  const [roles, made] = await Promise.all([call("/roles"), call("/comparisons")]);
  const champion = named(roles.champion);
  if (roles.challenger === null) {
    return [
      element("h2", `${champion} decides; nothing is tried beside it`),
      element("p", `${percent(roles.sample)} of its decisions are kept: ${made.cases} so far. PUT /v1/roles names a challenger.`),
    ];
  }
  const challenger = named(roles.challenger);
  const parts = [
    element("h2", `${champion} decides, ${challenger} is tried on ${percent(roles.sample)} of the requests`),
    element("p", `Agreement ${share(made.agreement)}; the interval is of 95 %. Correlation of scores ${made.correlation === null ? "-" : made.correlation.toFixed(3)}.`),
  ];
  const { both_match: both, only_champion: first, only_challenger: second, neither } = made.decisions;
  parts.push(
    table(["decisions", `${challenger} matches`, "does not"], [[`${champion} matches`, both, first], ["does not", second, neither]]),
    table(["milliseconds to embed and search", "p50", "p95", "p99"], [seconds(made.champion), seconds(made.challenger)]),
  );
  const truth = [...observed(made.champion), ...observed(made.challenger)];
  if (truth.length) parts.push(table(["told the truth about", "decisions", "false matches", "promised", "false non-matches"], truth));
  const cases = await call(`/comparisons/cases?limit=${CASES}`);
  if (cases.items.length) {
    parts.push(
      element("h2", "The latest disagreements"),
      table(["when", "kind", "collection", "request", champion, challenger], cases.items.map(disagreement)),
    );
  }
  return parts;
}
