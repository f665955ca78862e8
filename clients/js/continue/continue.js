// The page /auth/continue. Built, with parts of the client, into src/authsvc/http/pages/static/continue.
import { exclusivelyBy } from "../src/lock.ts";
import { openStore, random, PENDING } from "../src/store.ts";
import { passes, post, refusal } from "../src/transport.ts";
import { cameBack, hasJustBeenHere } from "./rounds.js";

/** The key of the last rotation, with its time: a crash may take its cookie back. */
const CONTINUED = "continued";
/** Milliseconds. Chromium writes cookies to the disk every 30 s. */
const FLUSHED = 60_000;
/** Milliseconds of pause after a first and after many failures. */
const PAUSE = 1_000;
const MAX_PAUSE = 30_000;

const find = (id) => document.getElementById(id);
const { returnTo, signIn, csrfCookie } = document.querySelector("main").dataset;
// As in the client: one that runs on this origin shares the lock and the pending key.
const name = `authsvc ${location.origin} `;
const store = openStore(name);
const exclusively = exclusivelyBy(name, store);

function say(title, text, ...actions) {
  find("title").textContent = document.title = title;
  find("text").textContent = text;
  find("track").hidden = actions.length > 0;
  find("actions").hidden = actions.length === 0;
  find("actions").replaceChildren(...actions);
}

const link = (textContent, href, className = "") =>
  Object.assign(document.createElement("a"), { textContent, href, className });

const button = (textContent, onclick) =>
  Object.assign(document.createElement("button"), { textContent, onclick });

const cookie = (wanted) =>
  document.cookie.split("; ").find((pair) => pair.startsWith(`${wanted}=`))?.slice(wanted.length + 1);

/** There is no session any more, or none of this kind. */
function over() {
  if (signIn) location.replace(signIn);
  else say("You are signed out", "Your session has ended.", link("Back to the application", returnTo));
}

/** The key to send: of the refresh without an answer; of one that a crash may have undone; a new one. */
function attemptKey() {
  const [key, at] = (store.get(CONTINUED) ?? "").split(" ");
  const age = Date.now() - Number(at);
  const last = key && age >= 0 && age < FLUSHED ? key : null;
  return store.get(PENDING) ?? last ?? random();
}

/** One request; whether there is a session. Rejects where that is not known. */
async function renew() {
  const csrf = cookie(csrfCookie);
  if (!csrf) return false;
  const key = attemptKey();
  // Before it is sent: whatever happens to the answer, the next attempt repeats it.
  store.set(PENDING, key);
  const answer = await post("/auth/refresh", { "Idempotency-Key": key, "X-CSRF-Token": csrf }, null);
  if (answer.status === 200 && answer.body?.session_id) {
    if (store.get(PENDING) === key) store.set(PENDING, null);
    // A kept token was made with the key of before, which stays the one to repeat.
    if (answer.headers.get("Authsvc-Refresh") !== "kept") store.set(CONTINUED, `${key} ${Date.now()}`);
    // A single-page app's session has no access cookie: going back would lead here again.
    return !answer.body.access_token;
  }
  const refused = refusal(answer);
  // `csrf_failed`: the cookies are of two sessions, and a new sign-in is what puts that right.
  if (!["invalid_refresh_token", "csrf_failed"].includes(refused.code)) throw refused;
  store.set(PENDING, null);
  store.set(CONTINUED, null);
  return false;
}

/** Until the time is over or somebody has had enough of it. */
async function countdown(milliseconds) {
  let wake;
  const woken = new Promise((done) => (wake = done));
  const until = Date.now() + milliseconds;
  const show = () => {
    const left = Math.max(Math.ceil((until - Date.now()) / 1_000), 0);
    find("text").textContent =
      `The sign-in service does not answer at the moment. You are still signed in. Next try in ${left} s.`;
    if (left === 0) wake();
  };
  say("Still trying …", "", button("Try now", wake));
  show();
  const ticking = setInterval(show, 250);
  addEventListener("online", wake);
  await woken;
  removeEventListener("online", wake);
  clearInterval(ticking);
}

async function untilAnswered() {
  for (let tries = 0; ; tries += 1) {
    say("One moment …", "Your session is being renewed.");
    try {
      return await exclusively(renew);
    } catch (error) {
      if (!passes(error)) throw error;
      const wait = Math.min(PAUSE * 2 ** tries, MAX_PAUSE);
      // Spread upwards, so that a service which comes back is not asked by everybody at once.
      await countdown(Math.max(wait, (error.retryAfter ?? 0) * 1_000) * (1 + Math.random() / 2));
    }
  }
}

async function run() {
  try {
    if (await untilAnswered()) {
      cameBack(name);
      location.replace(returnTo);
    } else over();
  } catch (error) {
    say("That did not work", error.message, button("Try again", run), link("Back to the application", returnTo, "second"));
  }
}

if (hasJustBeenHere(name)) {
  say(
    "The application asks again and again",
    "Your session has been renewed, but the application does not see its cookie or does not accept it. " +
      "Its operator finds the causes in the documentation: Server-rendered apps.",
    button("Try again", run),
    ...(signIn ? [link("Sign in again", signIn, "second")] : []),
  );
} else void run();
