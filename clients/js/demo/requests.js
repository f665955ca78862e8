// What the page asks of authsvc, as it happens.

/** Tell of every request with its answer; the client's own refreshes too. */
export function watchRequests(tell) {
  const { fetch } = globalThis;
  globalThis.fetch = async (input, init) => {
    const { pathname } = new URL(input.url ?? input, location.href);
    const request = `${init?.method ?? input.method ?? "GET"} ${pathname}`;
    const time = new Date().toLocaleTimeString();
    try {
      const answer = await fetch(input, init);
      const outcome = answer.headers.get("Authsvc-Refresh") ?? "";
      tell({ time, request, answer: String(answer.status), isGood: answer.ok, outcome });
      return answer;
    } catch (error) {
      tell({ time, request, answer: "no answer", isGood: false, outcome: "" });
      throw error;
    }
  };
}
