// An application that is sent its user back and does not see the cookie would send them here again,
// for ever. Each tab counts how often it has gone back.

const ROUNDS = "rounds";
/** So many within so many milliseconds are a loop: no access token lives for less than a minute. */
const TOO_MANY = 3;
const SPAN = 60_000;

const recent = (name) => {
  const moments = (sessionStorage.getItem(name + ROUNDS) ?? "").split(" ").map(Number);
  return moments.filter((at) => at && Math.abs(Date.now() - at) < SPAN);
};

/** Whether the tab goes round in circles. Where nothing can be counted, it could be, too. */
export function hasJustBeenHere(name) {
  try {
    if (recent(name).length < TOO_MANY) return false;
    sessionStorage.removeItem(name + ROUNDS);
    return true;
  } catch {
    return true; // Storage is denied: somebody has to say each time that they want to go on.
  }
}

/** Count one round. */
export function cameBack(name) {
  try {
    sessionStorage.setItem(name + ROUNDS, [...recent(name), Date.now()].join(" "));
  } catch {
    // As above.
  }
}
