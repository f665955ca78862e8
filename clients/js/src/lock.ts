import { random, type Store } from "./store.js";

/** Run something while no other tab does. */
export type Exclusively = <T>(run: () => Promise<T>) => Promise<T>;

const LOCK = "lock";
/** Longer than one request may take (see transport.ts): nobody else's lease ends under a live one. */
const LEASE = 40_000;
/** Milliseconds until every tab has seen what this one wrote. */
const SETTLED = 60;

export const sleep = (milliseconds: number): Promise<void> =>
  new Promise((done) => setTimeout(done, milliseconds));

/** Web Locks where there are any and the browser grants them to this frame; else a lease in the store. */
export function exclusivelyBy(name: string, store: Store): Exclusively {
  const locks = globalThis.navigator?.locks;
  const lease = leasing(store);
  if (!locks) return lease;
  return async (run) => {
    let granted = false;
    try {
      return await locks.request(name, () => {
        granted = true;
        return run();
      });
    } catch (error) {
      // In a frame of another site the request itself is a SecurityError.
      if (granted) throw error;
      return lease(run);
    }
  };
}

/**
 * A lease that tabs write, and read again once everybody's writing has arrived: the last one to
 * have written holds it. A tab that dies holds it until it runs out; one that ends later than a
 * lease can was written by a clock that was ahead, and counts as run out.
 */
function leasing(store: Store): Exclusively {
  return async (run) => {
    const me = random();
    const holder = (): string | undefined => {
      const [owner, until] = (store.get(LOCK) ?? "").split(" ");
      const left = Number(until) - Date.now();
      return left > 0 && left <= LEASE ? owner : undefined;
    };
    while (holder() !== me) {
      if (!holder()) store.set(LOCK, `${me} ${Date.now() + LEASE}`);
      // Unequal waits, so that two tabs do not keep step.
      await sleep(SETTLED * (1 + Math.random()));
    }
    try {
      return await run();
    } finally {
      if (holder() === me) store.set(LOCK, null);
    }
  };
}
