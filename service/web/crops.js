// The faces that a collection keeps, as small pictures. They are fetched when they come into view.

import { path } from "./api.js";
import { element } from "./elements.js";

async function load(image, api, request) {
  const response = await api.send(request).catch(() => null); // a face without a crop shows its letter only
  if (response === null) return;
  image.src = URL.createObjectURL(await response.blob());
  await image.decode().catch(() => {});
  URL.revokeObjectURL(image.src);
  image.hidden = false;
}

// A picture of one person; `face` gives the face's id, or null where there is none, once it is needed.
export function crop(api, collection, name, face) {
  const image = element("img", { alt: "", width: 64, height: 64, hidden: true });
  const node = element(
    "span",
    { class: "crop" },
    element("span", { "aria-hidden": "true" }, [...name][0] ?? "?"),
    image,
  );
  const watch = new IntersectionObserver(async ([entry]) => {
    if (!entry.isIntersecting) return;
    watch.disconnect();
    const id = await face().catch(() => null);
    if (id !== null) await load(image, api, { path: path`collections/${collection}/faces/${id}/crop` });
  });
  watch.observe(node);
  return node;
}
