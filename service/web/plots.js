// Plots of a live comparison: the two models' scores of the same faces, and how they are spread.

import { drawing, element } from "./elements.js";

const SIDE = 320;
const LOWEST = -0.4;
const BINS = 28;

const across = (value) => (SIDE * (Math.max(LOWEST, Math.min(1, value)) - LOWEST)) / (1 - LOWEST);
const up = (value) => SIDE - across(value);
const text = (x, y, words, attributes = {}) => drawing("text", { x, y, ...attributes }, words);

const only = (values) => (new Set(values.map((value) => value.toFixed(4))).size === 1 ? values[0] : null);

const figure = (svg, caption) => element("figure", { class: "plot" }, svg, element("figcaption", {}, caption));

const ticks = (vertical) =>
  [0, 0.5, 1].flatMap((value) => [
    text(across(value), SIDE + 18, String(value), { "text-anchor": "middle" }),
    ...(vertical ? [text(-8, up(value) + 4, String(value), { "text-anchor": "end" })] : []),
  ]);

const frame = (label, ...children) =>
  drawing(
    "svg",
    { viewBox: `-60 -12 ${SIDE + 74} ${SIDE + 58}`, role: "img", "aria-label": label },
    drawing("rect", { x: 0, y: 0, width: SIDE, height: SIDE, class: "ground" }),
    ...children,
  );

// Each case a point: the champion's score to the right, the challenger's upwards; a cross where they disagree.
function scatter(cases, champion, challenger) {
  const [right, top] = [
    only(cases.map((each) => each.champion_threshold)),
    only(cases.map((each) => each.challenger_threshold)),
  ];
  const points = cases.map((each) => {
    const [x, y] = [across(each.champion_score), up(each.challenger_score)];
    return each.agree
      ? drawing("circle", { cx: x, cy: y, r: 3, class: "agreeing" })
      : drawing("path", { d: `M${x - 4} ${y - 4}l8 8m0 -8l-8 8`, class: "disagreeing" });
  });
  return figure(
    frame(
      `Scores of ${cases.length} cases: ${champion} to the right, ${challenger} upwards`,
      right !== null && drawing("line", { x1: across(right), x2: across(right), y1: 0, y2: SIDE, class: "limit" }),
      top !== null && drawing("line", { x1: 0, x2: SIDE, y1: up(top), y2: up(top), class: "limit" }),
      ...points,
      ...ticks(true),
      text(SIDE / 2, SIDE + 38, `score of ${champion}`, { "text-anchor": "middle" }),
      text(0, 0, `score of ${challenger}`, {
        transform: `translate(-44 ${SIDE / 2}) rotate(-90)`,
        "text-anchor": "middle",
      }),
    ),
    "Each point is a face decided by both; a cross, one on which they disagree. Lines are the thresholds, where all cases share them.",
  );
}

const binned = (scores) => {
  const counts = Array(BINS).fill(0);
  for (const score of scores) counts[Math.min(BINS - 1, Math.floor((across(score) / SIDE) * BINS))] += 1;
  return counts;
};

// How the scores of both models are spread: an outline for each.
function spread(cases, champion, challenger) {
  const both = [
    ["champion", binned(cases.map((each) => each.champion_score))],
    ["challenger", binned(cases.map((each) => each.challenger_score))],
  ];
  const most = Math.max(...both.flatMap(([, counts]) => counts));
  const step = SIDE / BINS;
  const outline = (counts) =>
    counts.reduce(
      (path, each, bin) => `${path}V${SIDE - (each / most) * (SIDE - 40)}H${(bin + 1) * step}`,
      `M0 ${SIDE}`,
    ) + `V${SIDE}`;
  return figure(
    frame(
      `How the scores of ${champion} and ${challenger} are spread`,
      ...both.map(([role, counts]) => drawing("path", { d: outline(counts), class: role })),
      ...ticks(false),
      text(10, 18, `— ${champion}`, { class: "champion" }),
      text(10, 34, `- - ${challenger}`, { class: "challenger" }),
      text(SIDE / 2, SIDE + 38, "score", { "text-anchor": "middle" }),
    ),
    `How often each score came up; the highest bar stands for ${most}.`,
  );
}

// Nodes for the cases that both models scored; none where there are none.
export function plots(cases, champion, challenger) {
  const scored = cases.filter((each) => each.champion_score !== null && each.challenger_score !== null);
  if (!scored.length) return [];
  return [
    element("div", { class: "plots" }, scatter(scored, champion, challenger), spread(scored, champion, challenger)),
  ];
}
