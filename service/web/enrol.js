// A person, enrolled from one photograph or several.

import { count, element, field, options } from "./elements.js";
import { Desk } from "./desk.js";
import { markOf } from "./marks.js";
import { Photograph } from "./photographs.js";

const MOST = 20; // images of one enrolment

export function enrolView({ api, choices }) {
  const photographs = [];
  const photos = element("div", { class: "photos" });
  // There is always one free place more, so that the next photograph can be dropped there.
  const addPlace = () => {
    const place = new Photograph(
      `photograph-${photographs.length + 1}`,
      photographs.length ? `Photograph ${photographs.length + 1}` : "Photograph",
      {
        changed: (file) => {
          if (file && photographs.at(-1) === place && photographs.length < MOST) addPlace();
        },
      },
    );
    photographs.push(place);
    photos.append(place.node);
  };
  addPlace();
  const subject = element("input", { id: "subject", maxlength: 200 });
  const duplicate = element("select", { id: "duplicate" });
  options(duplicate, [
    ["enrol, and name them", "warn"],
    ["refuse", "reject"],
    ["do not look", "allow"],
  ]);
  const names = element("div", { class: "row" }, field("Name", subject), field("If others have this face", duplicate));
  const desk = new Desk(api, { inputs: [names, photos], photographs });

  async function enrol(ask) {
    const name = subject.value.trim();
    if (!name) throw new Error("Type the name of the person first.");
    const used = photographs.filter(({ file }) => file);
    if (!used.length) photographs[0].require();
    const form = new FormData();
    form.set("subject", name);
    form.set("collection", choices.collection);
    form.set("duplicate", duplicate.value);
    for (const { file } of used) form.append("images", file);
    const made = await ask({ method: "POST", path: "enroll", form });
    return {
      marks: made.images.map((image, index) => [
        used[index],
        image.face ? [markOf(image.face, image.problem ? "refused" : "enrolled", image.problem ? "bad" : "good")] : [],
      ]),
      nodes: told(made, used),
    };
  }

  desk.add("Enrol", enrol, { id: "enroll", writes: true });
  return { heading: "Enrol a person", nodes: [desk.node], desk, choices: ["collection"] };
}

function told({ subject, created, images, duplicates }, used) {
  const refused = images.flatMap(({ problem }, index) =>
    problem ? [`${used[index].file.name}: ${problem.detail} (${problem.code})`] : [],
  );
  return [
    element("h3", { class: "match" }, `${subject.name} has ${count(subject.faces, "face")} enrolled`),
    element("p", {}, `${created ? "A new person" : "Added to a person known before"}, in ${subject.collection}.`),
    refused.length > 0 && element("p", { class: "no_match" }, "Not enrolled:"),
    refused.length > 0 && element("ul", {}, ...refused.map((text) => element("li", {}, text))),
    duplicates.length > 0 &&
      element(
        "p",
        { class: "ambiguous" },
        `This face is also enrolled as ${duplicates.map(({ subject: name, score }) => `${name} (${score.toFixed(3)})`).join(", ")}.`,
      ),
  ].filter(Boolean);
}
