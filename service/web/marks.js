// Faces on a photograph: box, landmarks, and a text that says who or what, so that colour is never the only sign.

const COLOURS = { good: "#2ea043", unsure: "#e2a400", bad: "#e5534b" };
const TEXT = 13; // pixels on the screen

// A mark for a face of an answer; `text` stands beside its box.
export function markOf(face, text, kind = face.quality.reasons.length ? "unsure" : "good") {
  const reasons = face.quality.reasons.map((reason) => reason.replaceAll("_", " ")).join(", ");
  return { box: face.box, landmarks: face.landmarks, text: reasons ? `${text} (${reasons})` : text, kind };
}

// Draw `{box, landmarks, text, kind}` each; `ratio` goes from pixels of the photograph to those of the canvas.
export function drawFaces(pen, faces, ratio) {
  const { canvas } = pen;
  const zoom = canvas.width / (canvas.clientWidth || canvas.width); // canvas pixels for one on the screen
  pen.lineWidth = Math.max(1, 2 * zoom);
  pen.font = `600 ${Math.round(TEXT * zoom)}px system-ui, sans-serif`;
  pen.textBaseline = "top";
  for (const { box, landmarks, text, kind } of faces) {
    pen.strokeStyle = pen.fillStyle = COLOURS[kind];
    const [x, y, width, height] = [box.x, box.y, box.width, box.height].map((value) => value * ratio);
    pen.strokeRect(x, y, width, height);
    for (const [px, py] of landmarks) {
      pen.beginPath();
      pen.arc(px * ratio, py * ratio, pen.lineWidth, 0, 2 * Math.PI);
      pen.fill();
    }
    label(pen, text, { x, y, height }, zoom);
  }
}

// Above the box where there is room, else below it or at its foot; within the picture in any case.
function label(pen, text, { x, y, height }, zoom) {
  const { canvas } = pen;
  const pad = 4 * zoom;
  const [wide, tall] = [Math.min(canvas.width, pen.measureText(text).width + 2 * pad), TEXT * zoom + 2 * pad];
  const left = Math.max(0, Math.min(x - pen.lineWidth / 2, canvas.width - wide));
  const above = y - tall;
  const top = above >= 0 ? above : Math.max(0, Math.min(y + height, canvas.height - tall));
  pen.fillRect(left, top, wide, tall);
  pen.fillStyle = "#000";
  pen.fillText(text, left + pad, top + pad, wide - 2 * pad);
}
