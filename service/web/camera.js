// The webcam: a dialog with what it sees, and a button that takes the photograph.

import { button, element } from "./elements.js";

const WORDS = {
  NotAllowedError: "This page was not allowed to use the camera: allow it in the browser.",
  NotFoundError: "No camera was found.",
  NotReadableError: "The camera is in use elsewhere.",
};

async function open() {
  if (!navigator.mediaDevices) throw new Error("Browsers give the camera to pages of https and of localhost only.");
  try {
    return await navigator.mediaDevices.getUserMedia({ video: { width: { ideal: 1280 }, height: { ideal: 960 } } });
  } catch (error) {
    throw new Error(WORDS[error.name] ?? `The camera cannot be used: ${error.message}`);
  }
}

async function photographOf(video) {
  const canvas = element("canvas", { width: video.videoWidth, height: video.videoHeight });
  canvas.getContext("2d").drawImage(video, 0, 0);
  const blob = await new Promise((resolve) => canvas.toBlob(resolve, "image/jpeg", 0.95));
  return new File([blob], "camera.jpg", { type: "image/jpeg" });
}

// A photograph as a File, or null where none was taken.
export function takePhotograph() {
  return new Promise((resolve) => {
    let stream = null;
    let taken = null;
    const message = element("p", { class: "message", role: "alert" });
    const video = element("video", {
      autoplay: true,
      muted: true,
      playsinline: true,
      "aria-label": "What the camera sees",
    });
    const shutter = button(
      "Take photograph",
      async () => {
        taken = await photographOf(video);
        dialog.close();
      },
      { class: "primary", disabled: true },
    );
    const close = () => {
      stream?.getTracks().forEach((track) => track.stop());
      dialog.remove();
      resolve(taken);
    };
    const dialog = element(
      "dialog",
      { class: "camera", "aria-label": "Camera", onclose: close },
      video,
      element(
        "div",
        { class: "actions" },
        shutter,
        button("Cancel", () => dialog.close()),
      ),
      message,
    );
    document.body.append(dialog);
    dialog.showModal();
    const ready = () => {
      shutter.disabled = false;
      shutter.focus();
    };
    video.addEventListener("loadeddata", ready, { once: true });
    open().then(
      (opened) => {
        stream = opened;
        if (dialog.open) video.srcObject = stream;
        else close(); // it was closed before the camera was there
      },
      (error) => {
        message.textContent = error.message;
      },
    );
  });
}
