// The page /demo. Built, with the client, into src/authsvc/http/pages/static/demo/demo.js.
import { createAuth } from "../src/index.ts";
import { watchRequests } from "./requests.js";
import { stealToken } from "./theft.js";

const find = (selector) => document.querySelector(selector);
const json = (value) => JSON.stringify(value, null, 2);

function element(name, properties, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

watchRequests(({ time, request, answer, isGood, outcome }) => {
  const cells = [time, request, answer, outcome].map((text) => element("td", { textContent: text }));
  cells[2].className = isGood ? "good" : "bad";
  find("#requests").prepend(element("tr", {}, ...cells));
  while (find("#requests").children.length > 20) find("#requests").lastChild.remove();
});

const auth = createAuth({ onChange: show });

/** Do something for a button; what goes wrong is said in its card. */
async function act(button, work) {
  const problem = button.closest(".card").querySelector(".problem");
  problem.textContent = "";
  button.disabled = true;
  try {
    await work();
  } catch (error) {
    const fields = error.problem?.errors?.map(({ msg }) => msg).join(" ") ?? "";
    problem.textContent = `${error.message} ${fields}`;
  } finally {
    button.disabled = false;
  }
}

const onClick = (id, work) => {
  find(id).onclick = (event) => act(event.currentTarget, work);
};

/** The answer's JSON; a refusal is thrown with its own words. */
async function read(answer) {
  const body = answer.status === 204 ? null : await answer.json();
  if (!answer.ok) throw Object.assign(new Error(body.detail), { problem: body });
  return body;
}

// Who is there

let shownUser = null;

function show(session, reason) {
  find("#starting").hidden = true;
  find("#stranger").hidden = Boolean(session);
  find("#home").hidden = !session;
  // The button that had the focus is gone.
  if (reason === "login" || reason === "logout") find(session ? "#who" : "#stranger h1").focus();
  if (!session) {
    shownUser = null;
    find("#story").replaceChildren();
    return;
  }
  find("#token").textContent = json(session.claims);
  tick();
  if (shownUser !== session.userId) {
    shownUser = session.userId;
    find("#answer").textContent = "Not called yet.";
    void auth.me().then((me) => {
      find("#who").textContent = find("#theft").elements.email.value = me.email;
    });
    void listSessions();
  }
}

find("#sign-in").onsubmit = (event) => {
  event.preventDefault();
  const fields = event.target.elements;
  const account = { email: fields.email.value, password: fields.password.value };
  void act(event.submitter, async () => {
    if (event.submitter.value === "register") await auth.register(account.email, account.password);
    await auth.login(account.email, account.password, { remember: fields.remember.checked });
    find("#theft").elements.password.value = account.password;
    event.target.reset();
    find("#made-up").textContent = "";
  });
};

find("#throwaway").onclick = () => {
  const random = () => crypto.getRandomValues(new Uint32Array(2)).join("");
  const fields = find("#sign-in").elements;
  fields.email.value = `someone-${random().slice(0, 8)}@example.com`;
  fields.password.value = `made up ${random()}`;
  find("#sign-in .problem").textContent = "";
  find("#made-up").textContent = "Filled in. Now press Register.";
  find("#sign-in button[value=register]").focus();
};

onClick("#logout", () => auth.logout());
onClick("#logout-all", () => auth.logout("all"));

// The token

function tick() {
  if (!auth.session) return;
  const { expiresAt, claims } = auth.session;
  const life = (claims.exp - claims.iat) * 1000;
  const left = Math.max(0, expiresAt - Date.now());
  const seconds = Math.ceil(left / 1000);
  find("#left").textContent = `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;
  find("#due").textContent = new Date(expiresAt - 0.2 * life).toLocaleTimeString();
  find("#life").value = left / life;
}
setInterval(tick, 1000);

onClick("#refresh", () => {
  if (!navigator.onLine) throw new Error("You are offline. The session goes on; the refresh is made when you are back.");
  return auth.refresh();
});

onClick("#call", async () => {
  const answer = await auth.fetch("/auth/me");
  find("#answer").textContent = `${answer.status} ${answer.statusText}\n\n${json(await answer.json())}`;
});

// Sessions

async function listSessions() {
  const { sessions } = await auth.sessions();
  find("#sessions").replaceChildren(...sessions.map(entry));
}

function entry({ id, current, delivery, ip, user_agent: agent, last_used_at: used }) {
  const when = new Date(used).toLocaleTimeString();
  const about = element(
    "div",
    {},
    element("code", { textContent: id.slice(0, 8) }),
    ` ${delivery}, last used ${when}`,
    element("div", { className: "quiet", textContent: `${ip} · ${agent}` }),
  );
  const end = element("button", { className: "second small", textContent: "End" });
  end.onclick = () =>
    act(end, async () => {
      await auth.endSession(id);
      if (auth.session) await listSessions();
    });
  return element("li", {}, about, current ? element("span", { className: "badge", textContent: "this one" }) : end);
}

onClick("#reload-sessions", listSessions);

find("#theft").onsubmit = (event) => {
  event.preventDefault();
  void act(event.submitter, async () => {
    const { email, password } = Object.fromEntries(new FormData(event.target));
    find("#story").replaceChildren();
    const tell = (text, isGood) =>
      find("#story").append(element("li", { className: isGood ? "good" : "bad", textContent: text }));
    await stealToken({ email, password, tell, read, auth });
    await listSessions();
  });
};

// Without a session nothing has called `show` yet; if authsvc is away, it is called when it is back.
auth.ready.then(
  (session) => session ?? show(null),
  (error) => (find("#starting").textContent = error.message),
);
