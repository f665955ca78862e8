"use strict";

// Swagger UI has its own dark colours; it wants to be told.
const dark = window.matchMedia("(prefers-color-scheme: dark)");
const follow = () => document.documentElement.classList.toggle("dark-mode", dark.matches);
dark.addEventListener("change", follow);
follow();

// What a screen reader stumbles over in Swagger UI.
const accessible = ({ React }) => ({
  wrapComponents: {
    // A link within the button that opens the operation is two controls in one.
    DeepLink: () => ({ text }) => React.createElement("span", null, text),
    // The introduction lies outside of every landmark.
    InfoContainer: (Original) => (props) =>
      React.createElement("section", { "aria-label": "Introduction" }, React.createElement(Original, props)),
    // The groups are h3, below the page's h1.
    operations: (Original) => (props) =>
      React.createElement(
        React.Fragment,
        null,
        React.createElement("h2", { className: "only-heard" }, "Operations"),
        React.createElement(Original, props),
      ),
  },
});

(async () => {
  const answer = await fetch("/openapi.json");
  const spec = await answer.json();
  // Try it out talks to the origin that this page came from: on another spelling of it
  // (127.0.0.1 for localhost) the browser would keep the cookies away.
  spec.servers = [{ url: window.location.origin }];
  // The browser sends its cookies by itself; a field to type them into would do nothing.
  const schemes = spec.components.securitySchemes;
  const cookies = Object.keys(schemes).filter((name) => schemes[name].in === "cookie");
  cookies.forEach((name) => delete schemes[name]);
  for (const operation of Object.values(spec.paths).flatMap(Object.values)) {
    if (!operation.security) continue;
    operation.security = operation.security.filter((way) => {
      const onlyCookies = Object.keys(way).length > 0 && Object.keys(way).every((name) => cookies.includes(name));
      cookies.forEach((name) => delete way[name]);
      return !onlyCookies;
    });
  }

  const ui = SwaggerUIBundle({
    spec,
    dom_id: "#swagger-ui",
    presets: [SwaggerUIBundle.presets.apis],
    plugins: [accessible],
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
