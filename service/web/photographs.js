// A place for one photograph: chosen, dropped, pasted or taken with the camera; and the faces marked on it.

import { takePhotograph } from "./camera.js";
import { button, element } from "./elements.js";
import { drawFaces } from "./marks.js";

const LONGEST = 960; // pixels of the picture that is kept to be drawn

export class Photograph {
  #base = null; // the picture as it is drawn, or null where this browser cannot read the format
  #ratio = 1;
  #faces = [];

  constructor(id, title, { changed = () => {} } = {}) {
    this.id = id;
    this.title = title;
    this.file = null;
    this.changed = changed;
    this.input = element("input", {
      id,
      type: "file",
      accept: "image/*",
      class: "unseen",
      onchange: () => this.put(this.input.files[0] ?? null),
    });
    this.canvas = element("canvas", {
      width: 480,
      height: 360,
      role: "img",
      "aria-label": `${title}: none yet`,
      hidden: true,
    });
    this.hint = element("span", { class: "hint" }, "Drop, paste or choose one");
    this.note = element("span", { class: "note" });
    this.take = button(
      "Camera",
      async () => {
        const taken = await takePhotograph();
        if (taken) this.put(taken);
      },
      { class: "quiet", "aria-label": `${title}: take it with the camera` },
    );
    this.remove = button("Remove", () => this.put(null), {
      class: "quiet",
      "aria-label": `Remove: ${title}`,
      hidden: true,
    });
    this.node = element(
      "figure",
      { class: "photo", "data-photo": id },
      element("label", { class: "drop", for: id }, element("strong", {}, title), this.hint, this.canvas, this.input),
      element("figcaption", {}, this.note, this.take, this.remove),
    );
  }

  // Take a file, or none. The node tells by a bubbling `input`.
  async put(file) {
    this.file = file;
    this.#base = null;
    this.#faces = [];
    this.input.value = ""; // so that the same file can be chosen again
    this.remove.hidden = file === null;
    this.changed(file);
    this.node.dispatchEvent(new Event("input", { bubbles: true }));
    this.note.textContent = file === null ? "" : file.name;
    if (file !== null) await this.#read(file);
    this.#draw();
  }

  // The file. Raises an Error where there is none.
  require() {
    if (this.file) return this.file;
    throw new Error(`Choose the ${this.title.toLowerCase()} first.`);
  }

  // Mark faces: `{box, landmarks, text, kind}` each, in pixels of the upright photograph; none clears the marks.
  mark(faces) {
    this.#faces = faces;
    this.#draw();
  }

  async #read(file) {
    const picture = await createImageBitmap(file, { imageOrientation: "from-image" }).catch(() => null);
    if (this.file !== file) return; // another was chosen meanwhile
    if (picture === null) {
      this.note.textContent = `${file.name}: this browser cannot show ${file.type || "this format"}; the service may still read it.`;
      return;
    }
    this.#ratio = Math.min(1, LONGEST / Math.max(picture.width, picture.height));
    this.#base = element("canvas", {
      width: Math.max(1, Math.round(picture.width * this.#ratio)),
      height: Math.max(1, Math.round(picture.height * this.#ratio)),
    });
    this.#base.getContext("2d").drawImage(picture, 0, 0, this.#base.width, this.#base.height);
    picture.close();
  }

  #draw() {
    this.canvas.hidden = this.#base === null;
    this.hint.hidden = this.file !== null;
    const seen = this.#faces.map(({ text }) => text).join("; ");
    this.canvas.setAttribute("aria-label", `${this.title}: ${this.file?.name ?? "none yet"}${seen && `; ${seen}`}`);
    if (this.#base === null) return;
    this.canvas.width = this.#base.width;
    this.canvas.height = this.#base.height;
    const pen = this.canvas.getContext("2d");
    pen.drawImage(this.#base, 0, 0);
    drawFaces(pen, this.#faces, this.#ratio);
  }
}

// Whether something that is dragged or pasted holds files, and which.
const filesOf = (transfer) => [...(transfer?.files ?? [])];

// Let photographs be dropped and pasted anywhere on the page. `active` gives what shows now: `{photographs, busy}`.
// One that is dropped on a place goes there, one that is pasted to the place with the focus; others go to the first free.
export function receivePhotographs(active) {
  const receive = (files, at) => {
    for (const [number, file] of files.entries()) {
      const { photographs, busy } = active(); // asked again for each: places may have been added for more
      if (busy) return;
      const aimed = [at, document.activeElement].map((node) => photographs.find((each) => each.node.contains(node)));
      const place =
        (number === 0 && aimed.find(Boolean)) ||
        photographs.find((each) => each.file === null) ||
        (number === 0 && photographs[0]);
      if (!place) return;
      place.put(file);
    }
  };
  document.addEventListener("dragover", (event) => event.preventDefault()); // else a photograph dropped would replace this page
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    receive(filesOf(event.dataTransfer), event.target);
  });
  document.addEventListener("paste", (event) => {
    const files = filesOf(event.clipboardData);
    if (files.length) event.preventDefault();
    receive(files, null);
  });
}
