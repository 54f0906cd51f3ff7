// What outlives a page: a name, what a reload needs, and the messages.

const NAME = 'ringway.name';
const RELOAD = 'ringway.reload';
/** A call waits for its browser for a minute at most; what is older was left by a tab that was closed and opened again. */
const RELOAD_MS = 60_000;

export const rememberedName = () => localStorage.getItem(NAME) ?? '';

export function rememberName(name) {
  if (name) localStorage.setItem(NAME, name);
  else localStorage.removeItem(NAME);
}

/**
 * Keeps what the page needs to sign in again by itself and to come back into its calls. The password is among it: calls wait
 * for seconds only, which is no time to type it. So it is written when the page is left and not before, into sessionStorage,
 * which is this tab's alone and gone with it; and the page that comes next takes it out at once.
 */
export function keepForReload(state) {
  sessionStorage.setItem(RELOAD, JSON.stringify({ ...state, at: Date.now() }));
}

export function takeForReload() {
  const text = sessionStorage.getItem(RELOAD);
  sessionStorage.removeItem(RELOAD);
  const state = text ? JSON.parse(text) : null;
  return state && Date.now() - state.at < RELOAD_MS ? state : null;
}

/** An account's conversations: on the device if its name is remembered there, else for as long as the tab is open. */
export class Shelf {
  #key;
  #store;

  constructor(account) {
    this.#key = `ringway.messages.${account}`;
    this.#store = rememberedName() === account ? localStorage : sessionStorage;
  }

  read() {
    try {
      return JSON.parse(this.#store.getItem(this.#key)) ?? [];
    } catch {
      return [];
    }
  }

  /** Conversations, the newest first; the oldest are given up if there is no room. */
  write(conversations) {
    for (let count = conversations.length; count >= 0; count = count > 1 ? Math.floor(count / 2) : count - 1) {
      try {
        return this.#store.setItem(this.#key, JSON.stringify(conversations.slice(0, count)));
      } catch (error) {
        if (error.name !== 'QuotaExceededError') throw error;
      }
    }
  }

  /** Calls `changed` when another tab has written. */
  watch(changed) {
    addEventListener('storage', ({ key, storageArea }) => key === this.#key && storageArea === this.#store && changed());
  }
}
