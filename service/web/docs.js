// Swagger UI over this service's own document; it is served from here, and keys are not remembered.
window.addEventListener("load", async () => {
  SwaggerUIBundle({
    spec: blank(await (await fetch("openapi.json")).json()),
    dom_id: "#docs",
    deepLinking: true,
    persistAuthorization: false,
    validatorUrl: null,
    requestInterceptor: (request) => {
      if (request.body instanceof FormData) request.body = filledIn(request.body);
      return request;
    },
  });
});

// Fields that may be left out begin empty: Swagger UI would make up values of the schema, a rate and a threshold
// together, or a name that fits the pattern.
function blank(spec) {
  for (const [name, schema] of Object.entries(spec.components.schemas)) {
    if (!name.endsWith("Form")) continue;
    for (const [field, told] of Object.entries(schema.properties)) {
      if (told.type !== "string" && told.type !== "number") continue;
      if ("default" in told || told.format === "binary") continue;
      const [example = ""] = told.examples ?? [];
      told.example = schema.required.includes(field) ? example : "";
      delete told.examples;
    }
  }
  return spec;
}

// What was left empty is not sent.
function filledIn(form) {
  const sent = new FormData();
  for (const [name, value] of form) if (value !== "") sent.append(name, value);
  return sent;
}
