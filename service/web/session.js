// What a key may do, and what there is for it to choose from.

import { Problem } from "./api.js";

export const nameOf = ({ name, version }) => `${name}@${version}`;

export class Session {
  constructor(api, key, models, collections) {
    this.api = api;
    this.key = key;
    this.models = models;
    this.collections = collections; // null where the key reaches every one and may list none
  }

  // Raises Problem where the key is refused, or where none was given and one is needed.
  static async open(api) {
    const key = await api.ask({ path: "key" });
    const session = new Session(api, key, [], null);
    await session.reload();
    return session;
  }

  async reload() {
    this.models = (await this.api.ask({ path: "models" })).items;
    this.collections = await this.#listed();
  }

  async #listed() {
    const named = this.key.collections?.map((name) => ({ name, keep_crops: false })) ?? null;
    if (!this.may("read")) return named;
    const all = [];
    let cursor = null;
    do {
      const query = new URLSearchParams({ limit: 1000, ...(cursor && { cursor }) });
      const page = await this.api.ask({ path: `collections?${query}` });
      all.push(...page.items);
      cursor = page.next_cursor;
    } while (cursor);
    return all;
  }

  may(scope) {
    return this.key.scopes.includes(scope) || this.key.scopes.includes("admin");
  }

  // Roles concern every collection: a key that is limited to some may not change them.
  get everywhere() {
    return this.key.collections === null;
  }

  get embedders() {
    return this.models.filter((model) => model.loaded && model.manifest.task === "embedder");
  }

  keepsCrops(collection) {
    return this.may("read") && (this.collections ?? []).some((each) => each.name === collection && each.keep_crops);
  }
}

export const isRefusal = (error) => error instanceof Problem && ["key_required", "key_invalid"].includes(error.code);
