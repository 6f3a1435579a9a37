// What was asked and answered, for those who go on in a program: JSON, and the curl line that asks it.

import { button, element } from "./elements.js";

function copied(text, node) {
  const copy = async (event) => {
    const pressed = event.currentTarget;
    try {
      await navigator.clipboard.writeText(text);
      pressed.textContent = "Copied";
    } catch {
      getSelection().selectAllChildren(node); // without https there is no clipboard: the text is selected instead
    }
  };
  return button("Copy", copy, { class: "quiet" });
}

// A text to be copied.
export function snippet(text, label) {
  const code = element("code", {}, text);
  return element(
    "div",
    { class: "snippet" },
    element("pre", { tabindex: 0, role: "region", "aria-label": label }, code),
    copied(text, code),
  );
}

// A function that asks `api`, and keeps in `calls` what was asked and answered: `{request, answer}` each.
export function recording(api, calls, signal = undefined) {
  return async (request) => {
    const call = { request, answer: null };
    calls.push(call);
    try {
      call.answer = await api.ask(request, signal);
    } catch (error) {
      call.answer = error.answer ?? null;
      throw error;
    }
    return call.answer;
  };
}

const folded = (title, text) =>
  element("details", { class: "trace" }, element("summary", {}, title), snippet(text, title));

// Nodes that show what was recorded.
export function traces(api, calls) {
  if (!calls.length) return [];
  const answers = calls.map(({ answer }) => answer);
  const json = JSON.stringify(answers.length === 1 ? answers[0] : answers, null, 2);
  return [
    element(
      "div",
      { class: "traces" },
      folded("JSON", json),
      folded("curl", calls.map(({ request }) => api.curl(request)).join("\n\n")),
    ),
  ];
}
