// One to many: who of a collection is on the photograph.

import { crop } from "./crops.js";
import { count, element, table } from "./elements.js";
import { Desk } from "./desk.js";
import { markOf } from "./marks.js";
import { Photograph } from "./photographs.js";
import { KINDS, WORDS, basis } from "./verdict.js";

export function identifyView({ api, session, choices }) {
  const photograph = new Photograph("image", "Photograph");
  const desk = new Desk(api, {
    inputs: [element("div", { class: "photos" }, photograph.node)],
    photographs: [photograph],
  });

  async function identify(ask) {
    const form = choices.form();
    form.set("image", photograph.require());
    form.set("collection", choices.collection);
    form.set("faces", "all");
    const answer = await ask({ method: "POST", path: "identify", form });
    const nodes = [];
    if (answer.faces.length === 0) nodes.push(element("h3", {}, "No face found"));
    else if (answer.comparisons === 0) nodes.push(...nobody(answer));
    else nodes.push(...answer.faces.flatMap((found, index) => decided(found, index, answer.collection)));
    if (answer.comparisons)
      nodes.push(...basis(answer, [["Searched", `${count(answer.comparisons, "template")} of ${answer.collection}`]]));
    return { nodes, marks: [[photograph, answer.faces.map(marked)]] };
  }

  function decided({ decision, candidates, margin }, index, collection) {
    const pictured = session.keepsCrops(collection);
    const picture = (one) => (pictured ? [crop(api, collection, one.subject, async () => one.face_id)] : []);
    const rows = candidates.map((one) => [one.rank, ...picture(one), one.subject, one.score.toFixed(3)]);
    return [
      element(
        "h3",
        { class: decision },
        `Face ${index + 1}: ${WORDS[decision]}${decision === "match" ? `, ${candidates[0].subject}` : ""}`,
      ),
      decision === "ambiguous" &&
        element("p", {}, `The first two both pass and lie only ${margin.toFixed(3)} apart: too close to tell.`),
      rows.length > 0 &&
        table(`Candidates for face ${index + 1}`, ["Rank", ...(pictured ? ["Face"] : []), "Person", "Score"], rows),
    ].filter(Boolean);
  }

  desk.add("Who is it?", identify, { id: "identify" });
  return { heading: "Who is on a photograph?", nodes: [desk.node], desk, choices: ["model", "rate", "collection"] };
}

function nobody({ collection, unreachable, faces }) {
  const seen = `${count(faces.length, "face")} found, and nobody to compare with.`;
  const why = unreachable
    ? `None of the ${count(unreachable, "face")} of ${collection} has a template of this model: choose another model, or make templates again.`
    : `Nobody is enrolled in ${collection} yet.`;
  return [element("h3", {}, why), element("p", {}, seen)];
}

function marked({ decision, candidates, face }, index) {
  const [first] = candidates;
  const who =
    first === undefined
      ? ""
      : decision === "match"
        ? ` ${first.subject} ${first.score.toFixed(3)}`
        : ` ${WORDS[decision]} ${first.score.toFixed(3)}`;
  return markOf(face, `${index + 1}${who}`, first === undefined ? undefined : KINDS[decision]);
}
