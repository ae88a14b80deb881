// A file of its own, since the Content-Security-Policy allows no inline script.
SwaggerUIBundle({
  url: "/openapi.json",
  dom_id: "#docs",
  deepLinking: true,
  docExpansion: "list",
  displayRequestDuration: true,
  filter: true,
  persistAuthorization: false,
  tryItOutEnabled: true,
  // Without this the page would send our document to somebody else's validator.
  validatorUrl: null,
});
