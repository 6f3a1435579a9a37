// A decision in words, and its score on a line.

import { drawing, element, facts } from "./elements.js";
import { nameOf } from "./session.js";

export const WORDS = { match: "Match", no_match: "No match", ambiguous: "Ambiguous" };
export const KINDS = { match: "good", no_match: "bad", ambiguous: "unsure" };

export const milliseconds = (timings) =>
  Math.round(1000 * Object.values(timings).reduce((sum, value) => sum + value, 0));

const BASES = {
  measured: "(measured)",
  interpolated: "(between measured ones)",
  extrapolated: "(beyond the measured ones)",
  outside_calibration: "on fit faces",
  given: "(that of the score given)",
};
const rate = (value) => Number(value.toPrecision(2)).toString();

const oneOf = (value) => `of ${Number((1 / value).toPrecision(2)).toLocaleString("en")} strangers`;

// What a false match rate means to those who have to live with it; of a search, the rate at which a stranger matches anybody.
export function atWhatRate({ fmr, fmr_basis: basis, fpir = null }) {
  if (fmr === null) return "The score was given; how often strangers reach it is not known.";
  const how = BASES[basis];
  const more = basis === "outside_calibration" ? " A face here is unfit, so more may." : "";
  if (fpir !== null)
    return `At a false match rate of ${rate(fmr)} for each comparison ${how}: ${oneOf(fpir)} searched for, one would be taken for somebody.${more}`;
  return `At a false match rate of ${rate(fmr)} ${how}: ${oneOf(fmr)} compared, one would pass.${more}`;
}

// `extra` holds further names and values.
export function basis(decision, extra = []) {
  return [
    element("p", {}, atWhatRate(decision)),
    facts([
      ["Threshold", decision.threshold.toFixed(3)],
      ...extra,
      ["Model", nameOf(decision.model)],
      ["Time", `${milliseconds(decision.timings)} ms`],
      ["Request", decision.request_id],
    ]),
  ];
}

// The score on a line from -0.2 to 1, with the threshold it is held against.
export function scale(score, threshold, verdict) {
  const at = (value) => (600 * (Math.max(-0.2, Math.min(1, value)) + 0.2)) / 1.2;
  const label = at(threshold) > 480 ? "end" : "start";
  return drawing(
    "svg",
    {
      viewBox: "-12 -12 624 92",
      class: `scale ${verdict}`,
      role: "img",
      "aria-label": `score ${score.toFixed(3)}, threshold ${threshold.toFixed(3)}`,
    },
    drawing("line", { x1: 0, x2: 600, y1: 36, y2: 36, class: "axis" }),
    drawing("line", { x1: at(threshold), x2: 600, y1: 36, y2: 36, class: "passing" }),
    drawing("line", { x1: at(threshold), x2: at(threshold), y1: 20, y2: 48, class: "limit" }),
    drawing("text", { x: at(threshold), y: 14, "text-anchor": label }, `threshold ${threshold.toFixed(3)}`),
    drawing("circle", { cx: at(score), cy: 36, r: 9 }),
    ...[
      [-0.2, "start"],
      [0, "middle"],
      [0.5, "middle"],
      [1, "end"],
    ].map(([value, anchor]) => drawing("text", { x: at(value), y: 70, "text-anchor": anchor }, String(value))),
  );
}
