import type { Reason } from "./api.js";
import type { Token } from "./session.js";

/** What the tabs of an origin tell each other. */
export interface Message {
  /** A new access token. */
  readonly token?: Token;
  /** Why, if not for a refresh. */
  readonly reason?: Reason;
  /** The session of that id has ended. */
  readonly ended?: string | undefined;
  /** A login or logout is waiting: leave the refresh that is under way. */
  readonly leave?: true;
  /** Has anybody a newer token? */
  readonly ask?: true;
}

export interface Peers {
  /** Whether anybody could hear. */
  readonly connected: boolean;
  tell(message: Message): void;
  close(): void;
}

/** The other tabs, where the browser has BroadcastChannel and grants it; nobody without a name. */
export function openPeers(name: string | null, hear: (message: Message) => void): Peers {
  let channel: BroadcastChannel | undefined;
  try {
    if (name !== null && globalThis.BroadcastChannel) channel = new BroadcastChannel(name);
  } catch {
    // Denied, as to a frame of another site: tabs hear of each other by `storage` events.
  }
  if (channel) channel.onmessage = ({ data }: MessageEvent<Message>) => hear(data);
  return {
    connected: !!channel,
    tell: (message) => channel?.postMessage(message),
    close() {
      channel?.close();
      channel = undefined;
    },
  };
}
