"use strict";

// Swagger UI has its own dark colours; it wants to be told.
const dark = window.matchMedia("(prefers-color-scheme: dark)");
const follow = () => document.documentElement.classList.toggle("dark-mode", dark.matches);
dark.addEventListener("change", follow);
follow();

(async () => {
  const answer = await fetch("/openapi.json");
  const spec = await answer.json();
  // Try it out talks to the origin that this page came from: on another spelling of it
  // (127.0.0.1 for localhost) the browser would keep the cookies away.
  spec.servers = [{ url: window.location.origin }];

  const ui = SwaggerUIBundle({
    spec,
    dom_id: "#swagger-ui",
    presets: [SwaggerUIBundle.presets.apis],
    layout: "BaseLayout",
    deepLinking: true,
    docExpansion: "list",
    defaultModelsExpandDepth: -1,
    displayRequestDuration: true,
    tryItOutEnabled: true,
    // The tokens of this page end with it.
    persistAuthorization: false,
    // Nobody else is asked whether our document is valid.
    validatorUrl: null,
    responseInterceptor: (response) => {
      // Whoever logs in here is authorized for the calls that follow.
      const token = response.ok && response.obj && response.obj.access_token;
      if (typeof token === "string" && /\/auth\/(login|refresh)$/.test(response.url)) {
        ui.preauthorizeApiKey("bearer", token);
      }
      return response;
    },
  });
})();
