// The conversations of one account: what was written, and what became of it. No pixel and no SIP in here.
import { Shelf } from './storage.js';

const MOST_CONVERSATIONS = 50;
const MOST_MESSAGES = 200;

/**
 * A conversation is {to, who, unread, messages}, `to` whom one writes to. A message is {id, mine, text, at, state, reason, tab},
 * `state` one of sending, delivered, kept, failed, unknown. Each change reads the shelf and writes it again, so that two tabs
 * of one account do not lose what the other has written.
 */
export class Chat {
  #shelf;
  #tab;
  #write;
  #changed;
  #conversations;

  /** `write(to, text)` sends; `tab` names this one among those of its account. */
  constructor({ account, tab, write, changed }) {
    this.#shelf = new Shelf(account);
    this.#tab = tab;
    this.#write = write;
    this.#changed = changed;
    this.#conversations = this.#shelf.read();
    this.#shelf.watch(() => {
      this.#conversations = this.#shelf.read();
      changed();
    });
    // A page that was loaded anew while it sent has not heard the answer.
    this.#change(() => {
      const mine = this.#conversations.flatMap(({ messages }) => messages).filter(message => message.tab === tab);
      for (const message of mine) if (message.state === 'sending') message.state = 'unknown';
    });
  }

  get conversations() { return this.#conversations; }

  get unread() { return this.#conversations.reduce((sum, { unread }) => sum + unread, 0); }

  /** The conversation with somebody, begun if there is none; gives whom it is with. */
  begin(to, who = to) {
    const key = to.toLowerCase();
    const known = this.#find(key) ?? this.#conversations.find(conversation => conversation.who.toLowerCase() === key);
    if (known) return known.to;
    this.#change(() => this.#conversations.unshift({ to: key, who, unread: 0, messages: [] }));
    return key;
  }

  read(to) {
    if (this.#find(to)?.unread) this.#change(() => { this.#find(to).unread = 0; });
  }

  /** Whether it was news: another tab of this browser may have written it down already. */
  receive({ who, number, text, sent }) {
    const to = number.toLowerCase();
    let news = true;
    this.#change(() => {
      const conversation = this.#find(to) ?? this.#adopt(to, who);
      const same = message => !message.mine && message.at === sent && message.text === text && message.tab !== this.#tab;
      news = !conversation.messages.some(same);
      if (!news) return;
      conversation.who = who;
      conversation.unread += 1;
      this.#add(conversation, { id: crypto.randomUUID(), mine: false, text, at: sent, tab: this.#tab });
    });
    return news;
  }

  async send(to, text) {
    const id = crypto.randomUUID();
    this.#change(() => this.#add(this.#find(to), { id, mine: true, text, at: Date.now(), state: 'sending', tab: this.#tab }));
    this.#became(to, id, await this.#write(to, text));
  }

  async sendAgain(to, id) {
    const message = this.#find(to)?.messages.find(message => message.id === id);
    if (!message) return;
    this.#became(to, id, { state: 'sending', at: Date.now() });
    this.#became(to, id, await this.#write(to, message.text));
  }

  #became(to, id, news) {
    this.#change(() => {
      const message = this.#find(to)?.messages.find(message => message.id === id);
      if (message) Object.assign(message, { reason: undefined }, news);
    });
  }

  #find(to) { return this.#conversations.find(conversation => conversation.to === to); }

  /**
   * Who was written to by name answers from a number: what was written goes on there. From now on it is the number that is
   * written to, so that an answer never goes to anybody but who wrote.
   */
  #adopt(to, who) {
    const byName = this.#find(who.toLowerCase());
    if (byName) return Object.assign(byName, { to });
    const conversation = { to, who, unread: 0, messages: [] };
    this.#conversations.unshift(conversation);
    return conversation;
  }

  #add(conversation, message) {
    conversation.messages.push(message);
    conversation.messages.splice(0, conversation.messages.length - MOST_MESSAGES);
    this.#conversations = [conversation, ...this.#conversations.filter(other => other !== conversation)];
  }

  #change(change) {
    this.#conversations = this.#shelf.read();
    change();
    this.#conversations.length = Math.min(this.#conversations.length, MOST_CONVERSATIONS);
    this.#shelf.write(this.#conversations);
    this.#changed();
  }
}
