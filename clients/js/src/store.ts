/** The Idempotency-Key of a refresh that has had no answer. */
export const PENDING = "pending";

/** Text by name, for all tabs of the origin and over reloads. */
export interface Store {
  /** Whether it outlives the page. */
  readonly lasts: boolean;
  get(name: string): string | null;
  /** `null` removes. */
  set(name: string, value: string | null): void;
}

/** localStorage, or the page's memory where the browser denies it. */
export function openStore(prefix: string): Store {
  const memory = new Map<string, string>();
  let disk: Storage | undefined;
  try {
    disk = globalThis.localStorage;
    disk?.setItem(prefix + "probe", "");
    disk?.removeItem(prefix + "probe");
  } catch {
    disk = undefined; // Denied, or full: both throw.
  }
  return {
    get lasts() {
      return !!disk;
    },
    get(name) {
      try {
        if (disk) return disk.getItem(prefix + name);
      } catch {
        disk = undefined; // Denied since: what follows is for this page only.
      }
      return memory.get(name) ?? null;
    },
    set(name, value) {
      if (value === null) memory.delete(name);
      else memory.set(name, value);
      try {
        if (value === null) disk?.removeItem(prefix + name);
        else disk?.setItem(prefix + name, value);
      } catch {
        disk = undefined; // Denied since, or full.
      }
    },
  };
}

/** 128 random bits in hexadecimal. `crypto.randomUUID` is missing on pages without https. */
export const random = (): string =>
  Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) =>
    byte.toString(16).padStart(2, "0"),
  ).join("");
