// The conversations as they are seen: a list, and one of them open.
import { Chat } from './chat.js';
import { at, focus, make, showAvatar, timeOfDay, write } from './dom.js';
import { ping } from './sounds.js';

const STATES = { sending: 'Sending…', delivered: 'Delivered', unknown: 'Not known whether it arrived' };
const MOST_WATCHED = 20;

export class ChatView {
  #phone;
  #show;
  #unread;
  #chat;
  #open = null;
  #presence = new Map();

  /** `show()` brings the messages to the front, `visible()` says whether they are, `unread(count)` is told, `dial(number)` calls. */
  constructor(phone, { show, visible, unread, dial }) {
    this.#phone = phone;
    this.#show = show;
    this.#unread = unread;
    this.visible = visible;
    at('chat-new').addEventListener('submit', event => {
      event.preventDefault();
      const to = at('chat-to').value.trim();
      at('chat-to').value = '';
      if (to) this.open(to);
    });
    at('chat-back').addEventListener('click', () => {
      this.#open = null;
      this.#draw();
      focus(at('chat-to'));
    });
    at('chat-call').addEventListener('click', () => dial(this.#open));
    at('chat-write').addEventListener('submit', event => {
      event.preventDefault();
      this.#send();
    });
    at('chat-text').addEventListener('keydown', event => {
      // While an input method composes a word, Enter is its own.
      if (event.key !== 'Enter' || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      this.#send();
    });
    at('chat-text').addEventListener('input', () => this.#fit());
    document.addEventListener('visibilitychange', () => this.seen());
  }

  signedIn(account, tab) {
    if (this.#chat) return;
    this.#chat = new Chat({ account, tab, write: (to, text) => this.#phone.write(to, text), changed: () => this.#chat && this.#draw() });
    this.#draw();
  }

  signedOut() {
    this.#chat = undefined;
    this.#open = null;
    this.#presence.clear();
  }

  /** Opens the conversation with somebody and brings it to the front. */
  open(to, who) {
    this.#open = this.#chat.begin(to, who);
    this.#show();
    this.#draw();
    at('messages').scrollTop = at('messages').scrollHeight;
    focus(at('chat-text'));
  }

  received(message) {
    if (!this.#chat.receive(message)) return;
    // One that was adopted has another address now.
    if (this.#open && this.#open === message.who.toLowerCase()) this.#open = message.number.toLowerCase();
    ping();
    this.#draw();
    this.seen();
  }

  presence({ number, open, words }) {
    this.#presence.set(number, { open, words });
    this.#draw();
  }

  /** What is open and in sight is read. */
  seen() {
    if (this.#open && this.visible() && document.visibilityState === 'visible') this.#chat?.read(this.#open);
  }

  #send() {
    const text = at('chat-text').value.trim();
    if (!text) return;
    at('chat-text').value = '';
    this.#fit();
    this.#chat.send(this.#open, text);
    at('messages').scrollTop = at('messages').scrollHeight;
    at('chat-text').focus();
  }

  /** As high as what is written, within limits. */
  #fit() {
    const field = at('chat-text');
    field.style.height = 'auto';
    field.style.height = `${Math.min(field.scrollHeight + 2, 140)}px`;
  }

  #draw() {
    const { conversations, unread } = this.#chat;
    this.#unread(unread);
    this.#phone.watch(conversations.slice(0, MOST_WATCHED).map(({ to }) => to));
    const open = conversations.find(({ to }) => to === this.#open);
    at('chat-with').hidden = !open;
    at('chat-list').hidden = Boolean(open);
    at('no-conversations').hidden = conversations.length > 0;
    at('conversations').replaceChildren(...conversations.map(conversation => this.#entry(conversation)));
    if (open) this.#drawOpen(open);
  }

  #entry({ to, who, unread, messages }) {
    const last = messages.at(-1);
    const avatar = make('div', { className: 'avatar tiny', aria: { hidden: true } });
    showAvatar(avatar, who);
    const { open, words } = this.#presence.get(to) ?? {};
    if (typeof open === 'boolean') avatar.append(make('i', { className: 'dot', title: words, data: { open } }));
    const button = make('button', { className: 'entry conversation', data: { testid: 'conversation', unread: unread > 0 } },
      avatar,
      make('span', { className: 'peer', textContent: who }),
      make('span', { className: 'result', textContent: last ? `${last.mine ? 'You: ' : ''}${last.text}` : words ?? '' }),
      make('span', { className: 'when', textContent: last ? timeOfDay(last.at) : '' }),
      ...(unread ? [make('b', { className: 'badge', textContent: unread, aria: { label: `${unread} unread` } })] : []));
    button.addEventListener('click', () => this.open(to));
    return make('li', {}, button);
  }

  #drawOpen({ to, who, messages }) {
    write(at('chat-who'), who);
    const { open, words = '' } = this.#presence.get(to) ?? {};
    write(at('chat-presence'), words);
    at('chat-presence').dataset.open = open ?? '';
    at('chat-call').setAttribute('aria-label', `Call ${who}`);
    const list = at('messages');
    const atEnd = list.scrollHeight - list.scrollTop - list.clientHeight < 60;
    // Kept and changed in place, so that a screen reader says what is new and no more.
    const before = new Map([...list.children].map(item => [item.dataset.id, item]));
    const items = messages.map(message => {
      const item = before.get(message.id) ?? this.#bubble(message);
      this.#state(item, message, to, who);
      before.delete(message.id);
      return item;
    });
    for (const item of before.values()) item.remove();
    items.forEach((item, i) => list.children[i] === item || list.insertBefore(item, list.children[i] ?? null));
    if (atEnd) list.scrollTop = list.scrollHeight;
  }

  #bubble({ id, mine, text, at: when }) {
    const meta = make('p', { className: 'meta' }, make('time', { textContent: timeOfDay(when) }), make('span', { data: { testid: 'message-state' } }));
    return make('li', { className: mine ? 'mine' : 'theirs', data: { id, testid: 'message' } },
      make('p', { className: 'bubble', textContent: text }), meta);
  }

  #state(item, { id, mine, state, reason }, to, who) {
    if (!mine || item.dataset.state === state) return;
    item.dataset.state = state;
    const words = { ...STATES, kept: `Kept until ${who} is there`, failed: `Not delivered: ${reason}` }[state];
    const span = item.querySelector('.meta span');
    span.replaceChildren(words);
    if (state !== 'failed') return;
    const again = make('button', { className: 'again', textContent: 'Send again', data: { testid: 'send-again' } });
    again.addEventListener('click', () => this.#chat.sendAgain(to, id));
    span.append(' ', again);
  }
}
