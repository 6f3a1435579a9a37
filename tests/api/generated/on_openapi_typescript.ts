// Verifies and identifies by the types of openapi-typescript: `PROGRAM ADDRESS KEY FOLDER`.
// @ts-expect-error: no types of node are installed
import { readFileSync } from "node:fs";
import type { components, paths } from "./facet";

type Problem = components["schemas"]["Problem"];
type Verification = paths["/v1/verify"]["post"]["responses"][200]["content"]["application/json"];
type Enrollment = paths["/v1/enroll"]["post"]["responses"][201]["content"]["application/json"];
type Identification = components["schemas"]["Identification"];
type Asked = components["schemas"]["VerifyRequest"];

declare const process: { argv: string[] };
const [address, key, folder] = process.argv.slice(2);

const bytes = (name: string): BlobPart => readFileSync(`${folder}/${name}`);
const base64 = (name: string): string => readFileSync(`${folder}/${name}`, "base64");

async function send<Answer>(path: keyof paths, body: FormData | string, secret = key): Promise<Answer | Problem> {
  const headers: Record<string, string> = { Authorization: `Bearer ${secret}` };
  if (typeof body === "string") headers["Content-Type"] = "application/json";
  return (await fetch(address + path, { method: "POST", headers, body })).json();
}

const verify = (asked: Asked, secret?: string) => send<Verification>("/v1/verify", JSON.stringify(asked), secret);

function form(photo: string, file: string, fields: Record<string, string> = {}): FormData {
  const made = new FormData();
  made.append(photo, new Blob([bytes(file)]), file);
  for (const [name, value] of Object.entries(fields)) made.append(name, value);
  return made;
}

const isProblem = (answer: object): answer is Problem => "code" in answer;

function good<Answer extends object>(answer: Answer | Problem): Answer {
  if (isProblem(answer)) throw new Error(answer.detail);
  return answer;
}

function bad(answer: object): Problem {
  if (!isProblem(answer)) throw new Error("no problem");
  return answer;
}

async function main(): Promise<void> {
  const probe = base64("astronaut.jpg");
  const same = good(await verify({ probe, reference: probe, faces: "prominent", quality: "report" }));
  const other = good(await verify({ probe, reference: base64("admiral.jpg"), faces: "single", quality: "report" }));
  const enrolled = good(await send<Enrollment>("/v1/enroll", form("images", "astronaut.jpg", { subject: "person-1" })));
  const again = good(await send<Enrollment>("/v1/enroll", form("images", "admiral.jpg", { subject: "person-2" })));
  const known = good(await send<Identification>("/v1/identify", form("image", "astronaut.jpg")));
  const cat = { probe: base64("cat.jpg"), reference: probe, faces: "prominent", quality: "report" } as const;
  const faceless = bad(await verify(cat));
  const refused = bad(await verify(cat, "nobody"));
  console.log(
    JSON.stringify({
      same: same.decision,
      other: other.decision,
      enrolled: [enrolled.subject.name, again.subject.name],
      known: [known.faces[0].decision, known.faces[0].candidates[0].subject],
      landmarks: known.faces[0].face.landmarks.length,
      faceless: [faceless.status, faceless.code, faceless.image],
      refused: [refused.status, refused.code],
    }),
  );
}

main();
