"""Programs on clients that public generators make of the OpenAPI document, as somebody would write them."""
