// The page for people: everything it does is a call of the public API.

import { liveComparison } from "./live.js";

const byId = (id) => document.getElementById(id);
const KEY = "facet-key";
let models = [];

function element(name, text = "", className = "") {
  const made = document.createElement(name);
  made.textContent = text;
  if (className) made.className = className;
  return made;
}

async function call(path, options = {}) {
  const headers = { Authorization: `Bearer ${byId("key").value.trim()}`, ...options.headers };
  const response = await fetch(`/v1${path}`, { ...options, headers });
  const answer = await response.json();
  if (!response.ok) throw new Error(`${answer.title}: ${answer.detail} (${answer.code})`);
  return answer;
}

const post = (path, form) => call(path, { method: "POST", body: form });

function photo(name) {
  const file = byId(name).files[0];
  if (!file) throw new Error(`Choose the ${name === "probe" ? "photo" : "second photo"} first.`);
  return file;
}

// What a decision is asked for: a model, and a false match rate or a score.
function asking(model = byId("model").value) {
  const form = new FormData();
  form.set("model", model);
  const rate = byId("rate").value;
  if (rate === "threshold") form.set("threshold", byId("threshold").value);
  else form.set("fmr", rate);
  return form;
}

async function draw(name, faces = []) {
  const file = byId(name).files[0];
  const figure = document.querySelector(`[data-photo=${name}]`);
  const canvas = figure.querySelector("canvas");
  const pen = canvas.getContext("2d");
  pen.clearRect(0, 0, canvas.width, canvas.height);
  figure.querySelector("figcaption").textContent = "";
  if (!file) return;
  const picture = await createImageBitmap(file, { imageOrientation: "from-image" });
  const ratio = Math.min(1, 960 / Math.max(picture.width, picture.height));
  canvas.width = Math.round(picture.width * ratio);
  canvas.height = Math.round(picture.height * ratio);
  pen.drawImage(picture, 0, 0, canvas.width, canvas.height);
  pen.lineWidth = Math.max(2, canvas.width / 240);
  for (const face of faces) {
    pen.strokeStyle = pen.fillStyle = face.quality.reasons.length ? "#e2a400" : "#2ea043";
    const { x, y, width, height } = face.box;
    pen.strokeRect(x * ratio, y * ratio, width * ratio, height * ratio);
    for (const [px, py] of face.landmarks) {
      pen.beginPath();
      pen.arc(px * ratio, py * ratio, pen.lineWidth * 1.2, 0, 2 * Math.PI);
      pen.fill();
    }
  }
  const notes = faces.flatMap((face) => face.quality.reasons);
  figure.querySelector("figcaption").textContent =
    faces.length === 0 ? "" : `${faces.length} face${faces.length > 1 ? "s" : ""}${notes.length ? `; ${notes.join(", ")}` : ""}`;
}

function show(...parts) {
  byId("result").replaceChildren(...parts);
}

const WORDS = { match: "Match", no_match: "No match", ambiguous: "Ambiguous" };
const milliseconds = (timings) => Math.round(1000 * Object.values(timings).reduce((sum, value) => sum + value, 0));

function atWhatRate(decision) {
  const rate = decision.fmr === null ? "at a given score" : `at a false match rate of ${decision.fmr.toPrecision(2)} (${decision.fmr_basis})`;
  return `threshold ${decision.threshold.toFixed(3)} ${rate}, ${decision.model.name}@${decision.model.version}, ${milliseconds(decision.timings)} ms`;
}

// The score on a line from -0.2 to 1, with the threshold it is held against.
function scale(score, threshold, verdict) {
  const at = (value) => (600 * (Math.max(-0.2, Math.min(1, value)) + 0.2)) / 1.2;
  const shape = (name, attributes, text = "") => {
    const made = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    made.textContent = text;
    return made;
  };
  const drawing = shape("svg", { viewBox: "-12 0 624 54", class: `scale ${verdict}`, role: "img", "aria-label": `score ${score.toFixed(3)}, threshold ${threshold.toFixed(3)}` });
  const label = at(threshold) > 500 ? "end" : "start";
  drawing.append(
    shape("line", { x1: 0, x2: 600, y1: 36, y2: 36, class: "axis" }),
    shape("line", { x1: at(threshold), x2: 600, y1: 36, y2: 36, class: "passing" }),
    shape("line", { x1: at(threshold), x2: at(threshold), y1: 20, y2: 48, class: "axis" }),
    shape("text", { x: at(threshold), y: 14, "text-anchor": label }, `threshold ${threshold.toFixed(3)}`),
    shape("circle", { cx: at(score), cy: 36, r: 8 }),
  );
  return drawing;
}

function table(head, rows) {
  const made = element("table");
  const row = (cells, kind) => {
    const line = element("tr");
    line.append(...cells.map((cell) => {
      if (cell instanceof Node) return cell;
      return element(kind, String(cell), kind === "td" && typeof cell === "number" ? "number" : "");
    }));
    return line;
  };
  made.append(row(head, "th"), ...rows.map((cells) => row(cells, "td")));
  return made;
}

async function detect() {
  const names = ["probe", "reference"].filter((name) => byId(name).files[0]);
  if (!names.length) photo("probe");
  const rows = [];
  for (const name of names) {
    const form = new FormData();
    form.set("image", photo(name));
    const seen = await post("/detect", form);
    await draw(name, seen.faces);
    rows.push(...seen.faces.map((face, index) => [
      name, index + 1, face.detection_score.toFixed(3), face.quality.eye_distance.toFixed(0),
      face.quality.reasons.join(", ") || "fit",
    ]));
  }
  show(element("h2", rows.length === 1 ? "1 face" : `${rows.length} faces`), table(["photo", "face", "detector's score", "eye distance (px)", "quality"], rows));
}

async function verifyWith(model) {
  const form = asking(model);
  form.set("probe", photo("probe"));
  form.set("reference", photo("reference"));
  return post("/verify", form);
}

async function verify() {
  const decision = await verifyWith();
  await Promise.all([draw("probe", [decision.probe]), draw("reference", [decision.reference])]);
  show(
    element("h2", `${WORDS[decision.decision]}, score ${decision.score.toFixed(3)}`, decision.decision),
    scale(decision.score, decision.threshold, decision.decision),
    element("p", atWhatRate(decision)),
  );
}

async function compare() {
  const rows = [];
  for (const { manifest } of models) {
    const name = `${manifest.name}@${manifest.version}`;
    try {
      const decision = await verifyWith(name);
      const verdict = element("td", WORDS[decision.decision], decision.decision);
      rows.push([name, verdict, decision.score.toFixed(3), decision.threshold.toFixed(3),
        decision.fmr === null ? "given" : decision.fmr.toPrecision(2),
        Math.round(1000 * decision.timings.embed), milliseconds(decision.timings),
        (manifest.cost.bytes / 1e6).toFixed(2)]);
    } catch (error) {
      rows.push([name, error.message, "", "", "", "", "", ""]);
    }
  }
  show(element("h2", "The same pair by every model"),
    table(["model", "decision", "score", "threshold", "FMR", "embedding (ms)", "in all (ms)", "size (MB)"], rows));
}

async function identify() {
  const form = asking();
  form.set("image", photo("probe"));
  form.set("collection", byId("collection").value);
  form.set("faces", "all");
  const answer = await post("/identify", form);
  await draw("probe", answer.faces.map((found) => found.face));
  const parts = answer.faces.flatMap((found, index) => [
    element("h2", `Face ${index + 1}: ${WORDS[found.decision]}${found.decision === "match" ? `, ${found.candidates[0].subject}` : ""}`, found.decision),
    table(["rank", "person", "score"], found.candidates.map((one) => [one.rank, one.subject, one.score.toFixed(3)])),
  ]);
  show(...(parts.length ? parts : [element("h2", "No face found")]), element("p", `${answer.comparisons} templates searched; ${atWhatRate(answer)}`));
}

async function enroll() {
  const form = new FormData();
  form.set("subject", byId("subject").value);
  form.set("collection", byId("collection").value);
  for (const name of ["probe", "reference"]) if (byId(name).files[0]) form.append("images", byId(name).files[0]);
  if (!form.has("images")) photo("probe");
  const made = await post("/enroll", form);
  show(
    element("h2", `${made.subject.name} has ${made.subject.faces} face${made.subject.faces > 1 ? "s" : ""} enrolled`, "match"),
    table(["photo", "outcome"], made.images.map((image, index) => [index + 1, image.problem ? `${image.problem.detail} (${image.problem.code})` : "enrolled"])),
  );
}

async function live() {
  show(...await liveComparison({ call, element, table }));
}

function offerRates() {
  const chosen = models.find(({ manifest }) => `${manifest.name}@${manifest.version}` === byId("model").value);
  const rates = (chosen?.supported_fmr ?? []).map((rate) => new Option(`false match rate ${rate}`, rate));
  const kept = byId("rate").value || "0.001"; // the service's own default; the highest rate is offered first
  byId("rate").replaceChildren(...rates, new Option("a score of", "threshold"));
  if ([...byId("rate").options].some((option) => option.value === kept)) byId("rate").value = kept;
  offerThreshold();
}

function offerThreshold() {
  byId("threshold").hidden = byId("rate").value !== "threshold";
}

async function load() {
  byId("message").textContent = "";
  byId("live").hidden = true; // and nothing stays of what another key was shown
  show();
  sessionStorage.setItem(KEY, byId("key").value.trim());
  const known = await call("/models");
  models = known.items.filter((model) => model.loaded && model.manifest.task === "embedder");
  byId("model").replaceChildren(...models.map(({ manifest, default: first }) => {
    const name = `${manifest.name}@${manifest.version}`;
    return new Option(name, name, first, first);
  }));
  offerRates();
  // A key may be limited to deciding: then the collection it was made for is typed by nobody, and `default` is offered.
  const names = await call("/collections?limit=1000").then((page) => page.items.map((item) => item.name), () => ["default"]);
  byId("collection").replaceChildren(...names.map((name) => new Option(name, name)));
  byId("live").hidden = await call("/roles").then(() => false, () => true); // for keys that may read
  document.body.dataset.state = "ready";
}

// Every action runs alone, and says what went wrong.
function guarded(action) {
  return async () => {
    const buttons = document.querySelectorAll("#actions button");
    buttons.forEach((button) => { button.disabled = true; });
    byId("message").textContent = "";
    try {
      await action();
    } catch (error) {
      byId("message").textContent = error.message;
    } finally {
      buttons.forEach((button) => { button.disabled = false; });
    }
  };
}

for (const [name, action] of Object.entries({ detect, verify, compare, identify, enroll, live })) byId(name).addEventListener("click", guarded(action));
for (const name of ["probe", "reference"]) byId(name).addEventListener("change", guarded(() => draw(name)));
byId("setup").addEventListener("submit", (event) => event.preventDefault());
byId("key").addEventListener("change", guarded(load));
byId("model").addEventListener("change", offerRates);
byId("rate").addEventListener("change", offerThreshold);
byId("key").value = sessionStorage.getItem(KEY) ?? "";
if (byId("key").value) guarded(load)();
