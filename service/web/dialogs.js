// A dialog that does one thing. What goes wrong is said beside its button, and it stays open.

import { button, count, element, moment } from "./elements.js";
import { recording, traces } from "./traces.js";

// Resolves to what `act` gives, or null where the dialog was closed.
export function act({ title, nodes = [], confirm, cancel = true, danger = false, work }) {
  return new Promise((resolve) => {
    let result = null;
    const message = element("p", { class: "message", role: "alert" });
    const pressed = element("button", { class: danger ? "danger" : "primary" }, confirm);
    const leave = button("Cancel", () => dialog.close());
    const submit = async (event) => {
      event.preventDefault();
      if (pressed.disabled) return;
      pressed.disabled = leave.disabled = true;
      message.textContent = "";
      try {
        result = await work();
        dialog.close();
      } catch (error) {
        message.textContent = error.message;
      } finally {
        pressed.disabled = leave.disabled = false;
      }
    };
    const dialog = element(
      "dialog",
      {
        "aria-label": title,
        onclose: () => {
          if (pressed.disabled) {
            dialog.showModal(); // by Escape under way: what is being done is seen to its end
            return;
          }
          dialog.remove();
          resolve(result);
        },
      },
      element(
        "form",
        { onsubmit: submit, autocomplete: "off", novalidate: true },
        element("h3", {}, title),
        ...nodes,
        element("div", { class: "actions" }, pressed, cancel && leave),
        message,
      ),
    );
    document.body.append(dialog);
    dialog.showModal();
  });
}

// Ask one thing in a dialog. Resolves to the answer and the nodes that show how it was asked, or null where it was closed.
export async function askOnce(api, { request, ...options }) {
  const calls = [];
  const answer = await act({ ...options, work: () => recording(api, calls)(request()) });
  return answer && { answer, trace: traces(api, calls.slice(-1)) };
}

// A receipt of an erasure, to be read and kept.
export function receiptOf({ answer: receipt, trace }, what) {
  const gone = `${count(receipt.faces, "face")} and ${count(receipt.templates, "template")} are gone. Receipt `;
  return element(
    "div",
    { class: "receipt", role: "status" },
    element("h3", {}, `${what} is erased`),
    element("p", {}, gone, element("code", {}, receipt.id), `, ${moment(receipt.at)}.`),
    ...trace,
  );
}
