// One to one: two photographs, or a photograph and somebody who is enrolled.

import { crop } from "./crops.js";
import { element, table } from "./elements.js";
import { Desk } from "./desk.js";
import { markOf } from "./marks.js";
import { personField } from "./person_field.js";
import { Photograph } from "./photographs.js";
import { nameOf } from "./session.js";
import { KINDS, WORDS, atWhatRate, basis, milliseconds, scale } from "./verdict.js";

export function verifyView({ api, session, choices }) {
  const probe = new Photograph("probe", "Photograph");
  const reference = new Photograph("reference", "Second photograph");
  const person = personField(api, session, choices);
  const enrolled = element("input", { type: "radio", name: "against", value: "person", id: "against-person" });
  const choose = () => {
    reference.node.hidden = enrolled.checked;
    person.node.hidden = !enrolled.checked;
    choices.show(enrolled.checked ? ["model", "rate", "collection"] : ["model", "rate"]);
  };
  const against = element(
    "fieldset",
    { class: "against", onchange: choose },
    element("legend", {}, "Compare with"),
    element(
      "label",
      { class: "check" },
      element("input", { type: "radio", name: "against", value: "photograph", checked: true }),
      "a second photograph",
    ),
    element("label", { class: "check" }, enrolled, "a person enrolled"),
  );
  const photos = element(
    "div",
    { class: "photos" },
    probe.node,
    element("div", { class: "against-what" }, reference.node, person.node),
  );
  const desk = new Desk(api, { inputs: [against, photos], photographs: [probe, reference] });

  const request = (model) => {
    const form = choices.form(model);
    form.set("probe", probe.require());
    if (enrolled.checked) {
      form.set("subject", person.require());
      form.set("collection", choices.collection);
    } else {
      form.set("reference", reference.require());
    }
    return { method: "POST", path: "verify", form };
  };

  const marks = (decision) => [
    [
      probe,
      [
        markOf(
          decision.probe,
          decision.subject ? `${decision.subject.subject} ${decision.score.toFixed(3)}` : decision.score.toFixed(3),
          KINDS[decision.decision],
        ),
      ],
    ],
    ...(decision.reference
      ? [[reference, [markOf(decision.reference, decision.score.toFixed(3), KINDS[decision.decision])]]]
      : []),
  ];

  async function verify(ask) {
    const decision = await ask(request());
    const extra =
      decision.probe_faces > 1
        ? [["Faces", `${decision.probe_faces} in the photograph; the most prominent was taken`]]
        : [];
    return {
      marks: marks(decision),
      nodes: [
        element("h3", { class: decision.decision }, `${WORDS[decision.decision]}, score ${decision.score.toFixed(3)}`),
        decision.subject &&
          session.keepsCrops(choices.collection) &&
          crop(api, choices.collection, decision.subject.subject, async () => decision.subject.face_id),
        scale(decision.score, decision.threshold, decision.decision),
        ...basis(decision, extra),
      ].filter(Boolean),
    };
  }

  async function compare(ask) {
    const rows = [];
    let rate = null; // the same for all, in words
    for (const { manifest } of session.embedders) {
      const decision = await ask(request(nameOf(manifest))).catch((error) => {
        if (error.name === "AbortError") throw error;
        return error;
      });
      if (!(decision instanceof Error)) rate ??= atWhatRate(decision);
      rows.push(decision instanceof Error ? refused(manifest, decision) : compared(manifest, decision));
    }
    return [
      element("h3", {}, "The same pair by every model"),
      table(
        "The same pair by every model",
        ["Model", "Decision", "Score", "Threshold", "Embed, ms", "All, ms", "MB"],
        rows,
      ),
      ...(rate === null ? [] : [element("p", {}, rate)]),
    ];
  }

  async function detect(ask) {
    const shown = [probe, reference].filter((each) => each.file && !each.node.hidden);
    if (!shown.length) probe.require();
    const found = [];
    for (const photograph of shown) {
      const form = new FormData();
      form.set("image", photograph.file);
      found.push([photograph, (await ask({ method: "POST", path: "detect", form })).faces]);
    }
    const rows = found.flatMap(([photograph, faces]) =>
      faces.map((face, index) => [
        photograph.title,
        index + 1,
        face.detection_score.toFixed(3),
        face.quality.eye_distance.toFixed(0),
        face.quality.reasons.map((reason) => reason.replaceAll("_", " ")).join(", ") || "fit",
      ]),
    );
    return {
      marks: found.map(([photograph, faces]) => [photograph, faces.map((face, index) => markOf(face, `${index + 1}`))]),
      nodes: [
        element("h3", {}, rows.length === 0 ? "No face found" : rows.length === 1 ? "1 face" : `${rows.length} faces`),
        ...(rows.length
          ? [table("Faces", ["Photograph", "Face", "Detector's score", "Eye distance, px", "Quality"], rows)]
          : []),
      ],
    };
  }

  desk.add("Same person?", verify, { id: "verify" });
  if (session.embedders.length > 1) desk.add("Ask every model", compare, { id: "compare" });
  desk.add("Find faces", detect, { id: "detect" });
  return {
    heading: "Do two photographs show one person?",
    nodes: [desk.node],
    desk,
    choices: ["model", "rate"],
    shown: choose,
  };
}

const compared = (manifest, decision) => [
  nameOf(manifest),
  element("strong", { class: decision.decision }, WORDS[decision.decision]),
  decision.score.toFixed(3),
  decision.threshold.toFixed(3),
  Math.round(1000 * decision.timings.embed),
  milliseconds(decision.timings),
  (manifest.cost.bytes / 1e6).toFixed(2),
];

const refused = (manifest, error) => [nameOf(manifest), error.message, "", "", "", "", ""];
