// Signing in and out: the browser asks authsvc, which sets the cookies.
const find = (id) => document.getElementById(id);

async function ask(authsvc, path, body, headers = {}) {
  const answer = await fetch(`${authsvc}${path}`, {
    method: "POST",
    credentials: "include",
    headers: { "Content-Type": "application/json", ...headers },
    body: JSON.stringify(body),
  });
  if (answer.ok) return;
  const problem = await answer.json().catch(() => ({}));
  throw Object.assign(new Error(problem.detail ?? `Status ${answer.status}`), problem);
}

const complain = (error) => (find("problem").textContent = error.message);

find("sign-in")?.addEventListener("submit", (event) => {
  event.preventDefault();
  const { email, password } = Object.fromEntries(new FormData(event.target));
  ask(event.target.dataset.authsvc, "/auth/login", { email, password, delivery: "web" }).then(
    () => location.replace("/notes"),
    complain,
  );
});

find("sign-out")?.addEventListener("click", ({ target }) => {
  const { authsvc, csrfToken } = target.dataset;
  ask(authsvc, "/auth/logout", {}, { "X-CSRF-Token": csrfToken })
    // Nothing was there to end, and the cookies are gone: as good as signed out.
    .catch((error) => error.code === "unauthenticated" || Promise.reject(error))
    .then(() => location.replace("/sign-in"), complain);
});
