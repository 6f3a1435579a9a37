// A dialog that does one thing. What goes wrong is said beside its button, and it stays open.

import { button, element } from "./elements.js";

// Resolves to what `act` gives, or null where the dialog was closed.
export function act({ title, nodes = [], confirm, cancel = true, danger = false, work }) {
  return new Promise((resolve) => {
    let result = null;
    const message = element("p", { class: "message", role: "alert" });
    const pressed = element("button", { class: danger ? "danger" : "primary" }, confirm);
    const submit = async (event) => {
      event.preventDefault();
      if (pressed.disabled) return;
      pressed.disabled = true;
      message.textContent = "";
      try {
        result = await work();
        dialog.close();
      } catch (error) {
        message.textContent = error.message;
      } finally {
        pressed.disabled = false;
      }
    };
    const dialog = element(
      "dialog", { "aria-label": title, onclose: () => { dialog.remove(); resolve(result); } },
      element(
        "form", { onsubmit: submit, autocomplete: "off", novalidate: true }, element("h3", {}, title), ...nodes,
        element("div", { class: "actions" }, pressed, cancel && button("Cancel", () => dialog.close())), message,
      ),
    );
    document.body.append(dialog);
    dialog.showModal();
  });
}

// A receipt of an erasure, to be read and kept.
export function receiptOf(receipt, what) {
  return element(
    "div", { class: "receipt", role: "status" }, element("h3", {}, `${what} is erased`),
    element("p", {}, `${receipt.faces} faces and ${receipt.templates} templates are gone. Receipt `, element("code", {}, receipt.id), `, ${new Date(receipt.at).toLocaleString()}.`),
  );
}
