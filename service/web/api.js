// Calls of the public API with one key. All that the console does goes through here.

// What the service refused, in words and as the problem it answered.
export class Problem extends Error {
  constructor(answer) {
    super(`${answer.title}: ${answer.detail} (${answer.code})`);
    this.answer = answer;
    this.code = answer.code;
  }
}

// A path below /v1 whose inserted parts may hold any character.
export const path = (parts, ...values) =>
  String.raw({ raw: parts }, ...values.map((value) => encodeURIComponent(value)));

export class Api {
  constructor(key = "") {
    this.key = key;
    this.base = new URL("v1/", document.baseURI);
  }

  // `request` holds a path, and where they are needed a method, a form or a JSON value.
  async send(request, signal) {
    const { method = "GET", path: place, form, json } = request;
    const headers = {};
    if (this.key) headers.Authorization = `Bearer ${this.key}`;
    if (json !== undefined) headers["Content-Type"] = "application/json";
    const body = json === undefined ? form : JSON.stringify(json);
    let response;
    try {
      response = await fetch(new URL(place, this.base), { method, headers, body, signal });
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw new Error("The service does not answer. Is it running?");
    }
    if (!response.ok) throw new Problem(await problemOf(response));
    return response;
  }

  async ask(request, signal) {
    return (await this.send(request, signal)).json();
  }

  // What `ask` asks, as a command for a terminal; it finds the key in the variable KEY.
  curl({ method = "GET", path: place, form, json }) {
    const words = ["curl"];
    if (this.key) words.push('-H "Authorization: Bearer $KEY"');
    if (method !== (form || json !== undefined ? "POST" : "GET")) words.push(`-X ${method}`);
    for (const [name, value] of form ?? []) {
      if (value instanceof File) words.push(`-F ${quoted(`${name}=@${inForm(value.name)}`)}`);
      else words.push(`--form-string ${quoted(`${name}=${value}`)}`);
    }
    if (json !== undefined)
      words.push("-H 'Content-Type: application/json'", `--data-raw ${quoted(JSON.stringify(json))}`);
    words.push(quoted(new URL(place, this.base).href));
    return words.join(" \\\n  ");
  }
}

// What the service says, or that something else answered: a proxy before it, say.
async function problemOf(response) {
  const answer = await response.json().catch(() => null);
  if (typeof answer?.code === "string") return answer;
  return { title: `HTTP ${response.status}`, detail: "the answer is not one of this service", code: "unknown" };
}

const quoted = (word) => (/^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`);

const inForm = (name) => (/^[\w.-]+$/.test(name) ? name : `"${name.replaceAll("\\", "\\\\").replaceAll('"', '\\"')}"`);
