// What becomes of a copied refresh token: a second device's, so that this page's session stays.

/** A request without this browser's cookies, as from elsewhere. */
const post = (path, body) =>
  fetch(path, {
    method: "POST",
    credentials: "omit",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(body),
  });

/** Play it, and tell each step: text, and whether it went well for the owner. */
export async function stealToken({ email, password, tell, read, auth }) {
  const login = await read(await post("/auth/login", { email, password, delivery: "native" }));
  tell(`Another device logs in: session ${login.session_id.slice(0, 8)}.`, true);
  const stolen = login.refresh_token;
  tell("A thief copies its refresh token.", false);
  const owner = await read(await post("/auth/refresh", { refresh_token: stolen }));
  tell("The device refreshes, and the copy is spent.", true);
  const thief = await post("/auth/refresh", { refresh_token: stolen });
  tell(`The thief uses the copy: ${thief.status}. That was reuse, and the session is over.`, thief.status === 401);
  const again = await post("/auth/refresh", { refresh_token: owner.refresh_token });
  tell(`The device's own newest token: ${again.status}. It has to log in again.`, false);
  const here = await auth.fetch("/auth/me");
  tell(`This page, a session of its own: ${here.status}. It goes on.`, here.ok);
}
