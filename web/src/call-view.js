// The calls as they are seen: the current one large, the others as rows above it, and what can be done with each.
import { announce, at, clock, focus, keyName, make, pad, say, showAvatar, write } from './dom.js';
import { meter } from './meter.js';
import { audioContext, keyTone, ringback, ringtone } from './sounds.js';

const THEIR_KEYS_MS = 3000;

/** A call's state in words. */
function inWords(call, connected) {
  const { state, held, muted, transfer, who } = call;
  if (transfer) return transfer.ringing ? `Transferring ${who} – it rings at ${transfer.to}…` : `Transferring ${who} to ${transfer.to}…`;
  switch (state) {
    case 'starting':
    case 'calling':
      return 'Calling…';
    case 'ringing':
      return 'Ringing…';
    case 'incoming':
      return 'is calling you';
    case 'answering':
      return 'Connecting…';
    case 'returning':
      return 'Coming back to your call…';
    default:
      if (!connected) return held ? 'On hold, reconnecting…' : 'Reconnecting, your call goes on';
      return held ? 'On hold' : muted ? 'Muted' : '';
  }
}

export class CallView {
  #phone;
  #show;
  #calls = [];
  #current = null;
  #connected = false;
  #early = new Set();
  #rows = new Map();
  #sound = { kind: null, stop: () => {} };
  #stopMeters = {};
  #theirKeys;

  /** `show(view, focus)` brings a view to the front; `write(number, who)` opens a conversation. */
  constructor(phone, { show, write: open }) {
    this.#phone = phone;
    this.#show = show;
    const id = () => this.#current?.id;
    at('answer').addEventListener('click', () => this.#answer(id()));
    for (const button of ['decline', 'hang-up', 'back']) at(button).addEventListener('click', () => phone.hangUp(id()));
    at('mute').addEventListener('click', () => phone.mute(id(), !this.#current.muted));
    at('hold').addEventListener('click', () => (this.#current.held ? phone.resume(id()) : phone.hold(id())));
    at('keypad').addEventListener('click', () => this.#unfold(at('dtmf').hidden ? 'keypad' : null));
    at('transfer').addEventListener('click', () => this.#unfold(at('transfer-form').hidden ? 'transfer' : null));
    at('write').addEventListener('click', () => open(this.#current.number, this.#current.who));
    at('connect').addEventListener('click', () => phone.connect(this.#current.consultFor, id()));
    at('transfer-form').addEventListener('submit', event => this.#transfer(event));
    at('transfer-form').addEventListener('keydown', event => {
      if (event.key !== 'Escape') return;
      this.#unfold(null);
      focus(at('transfer'));
    });
    pad(at('pad-dtmf'), key => this.#press(key));
    addEventListener('keydown', event => {
      if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest?.('input, textarea')) return;
      if (this.#talking() && /^[0-9*#]$/.test(event.key)) this.#press(event.key);
    });
    setInterval(() => this.#tick(), 250);
  }

  get busy() { return this.#calls.length > 0; }

  #talking() { return this.#current?.state === 'talking'; }

  /** All calls as they are now. */
  update({ calls, current }, connected) {
    const before = this.#current;
    this.#calls = calls;
    this.#connected = connected;
    this.#current = calls.find(({ id }) => id === current) ?? null;
    const call = this.#current;
    if (before?.id !== call?.id) {
      this.#unfold(null);
      write(at('digits'), '');
      write(at('their-keys'), '');
    }
    this.#makeSounds();
    this.#tick();
    if (!call) return;
    const incoming = call.state === 'incoming' && calls.length === 1;
    if (incoming) {
      write(at('incoming-who'), call.who);
      showAvatar(at('incoming-avatar'), call.who);
    } else {
      this.#showCurrent(call);
      this.#showOthers();
    }
    const view = incoming ? 'incoming' : 'call';
    if (document.body.dataset.view !== view) this.#show(view, incoming ? 'answer' : 'hang-up');
    // What was pressed may be gone with what it was for.
    else if (before?.id !== call.id && document.activeElement === document.body) focus(at('mute'));
  }

  #showCurrent(call) {
    const talking = call.state === 'talking';
    const free = talking && !call.transfer && this.#connected;
    write(at('call-who'), call.who);
    showAvatar(at('call-avatar'), call.who);
    write(at('call-state'), inWords(call, this.#connected));
    at('call-avatar').classList.toggle('ringing', !call.since && call.state !== 'returning');
    at('view-call').dataset.held = call.held;
    at('meters').hidden = !talking || call.held;
    at('mute').disabled = at('keypad').disabled = !talking;
    at('hold').disabled = at('transfer').disabled = !free;
    this.#toggle('mute', call.muted, 'Mute', 'Unmute', 'mic', 'mic-off');
    this.#toggle('hold', call.held, 'Hold', 'Resume', 'hold', 'resume');
    if (!free && !at('transfer-form').hidden) this.#unfold(null);
    const waiting = this.#calls.find(({ id }) => id === call.consultFor);
    at('ask').hidden = !waiting;
    if (waiting) {
      write(at('ask-words'), talking ? `${waiting.who} does not hear you now.` : `${waiting.who} waits meanwhile.`);
      write(at('back'), `Back to ${waiting.who}`);
      at('connect').disabled = !free;
    }
  }

  #toggle(id, on, offWords, onWords, offIcon, onIcon) {
    at(id).setAttribute('aria-pressed', on);
    write(at(id).lastElementChild, on ? onWords : offWords);
    at(id).querySelector('use').setAttribute('href', `#i-${on ? onIcon : offIcon}`);
  }

  // Rows are kept and changed in place: one that is built anew loses its focus, and a click in mid-air.
  #showOthers() {
    const others = this.#calls.filter(call => call !== this.#current);
    for (const [id, row] of this.#rows) {
      if (others.some(call => call.id === id)) continue;
      row.item.remove();
      this.#rows.delete(id);
    }
    for (const call of others) {
      const row = this.#rows.get(call.id) ?? this.#makeRow(call);
      const incoming = call.state === 'incoming';
      row.item.classList.toggle('calls', incoming);
      write(row.state, inWords(call, this.#connected));
      row.answer.hidden = row.decline.hidden = !incoming;
      // The one who waits for an answer has a way back of its own, below.
      row.resume.hidden = call.state !== 'talking' || call.id === this.#current.consultFor;
      row.resume.disabled = !this.#connected || Boolean(call.transfer);
      write(row.answer, this.#talking() ? 'Answer (hold the other)' : 'Answer (end the other)');
    }
  }

  #makeRow({ id, who, state }) {
    const button = (name, className, text, pressed) => {
      const made = make('button', { className, textContent: text, data: { testid: `row-${name}` }, aria: { label: `${text}: ${who}` } });
      made.addEventListener('click', pressed);
      return made;
    };
    const row = {
      avatar: make('div', { className: 'avatar tiny', aria: { hidden: true } }),
      state: make('span', { data: { testid: 'row-state' } }),
      time: make('time', { aria: { label: 'Talking for' } }),
      answer: button('answer', 'call pill', 'Answer', () => this.#answer(id)),
      decline: button('decline', 'plain pill', 'Decline', () => this.#phone.hangUp(id)),
      resume: button('resume', 'plain pill', 'Resume', () => this.#phone.resume(id)),
    };
    // Its words change with what becomes of the other call.
    row.answer.removeAttribute('aria-label');
    showAvatar(row.avatar, who);
    const words = make('p', {}, make('b', { textContent: who, data: { testid: 'row-who' } }), make('span', {}, row.state, ' ', row.time));
    row.item = make('li', { data: { testid: 'row' } }, row.avatar, words, make('div', { className: 'row-actions' }, row.decline, row.answer, row.resume));
    this.#rows.set(id, row);
    at('others').append(row.item);
    if (state === 'incoming') announce(`${who} is calling you, too`);
    return row;
  }

  #tick() {
    const length = call => (call?.since ? clock(Date.now() - call.since) : '');
    write(at('timer'), length(this.#current));
    write(at('tab-timer'), length(this.#current));
    for (const call of this.#calls) if (this.#rows.has(call.id)) write(this.#rows.get(call.id).time, length(call));
  }

  // --- keys and transfers ---

  /** One of the two panels, or none. */
  #unfold(which) {
    at('dtmf').hidden = which !== 'keypad';
    at('transfer-form').hidden = which !== 'transfer';
    at('keypad').setAttribute('aria-expanded', which === 'keypad');
    at('transfer').setAttribute('aria-expanded', which === 'transfer');
    if (which !== 'transfer') return;
    at('transfer-to').value = '';
    const others = this.#calls.filter(call => call !== this.#current && call.state === 'talking');
    at('transfer-others').replaceChildren(...others.map(other => {
      const button = make('button', { type: 'button', className: 'chip', textContent: `Connect with ${other.who}` });
      button.addEventListener('click', () => this.#phone.connect(this.#current.id, other.id));
      return button;
    }));
    focus(at('transfer-to'));
  }

  #transfer(event) {
    event.preventDefault();
    const number = at('transfer-to').value.trim();
    if (!number) return;
    this.#unfold(null);
    focus(at('hang-up'));
    if (event.submitter?.value === 'ask') this.#phone.ask(this.#current.id, number);
    else this.#phone.transfer(this.#current.id, number);
  }

  #press(key) {
    keyTone(key);
    this.#phone.press(this.#current.id, key);
    write(at('digits'), (at('digits').textContent + key).slice(-16));
    announce(`Key ${keyName(key)}`);
  }

  /** The other side pressed a key. */
  heard({ call, key }) {
    if (call.id !== this.#current?.id) return;
    const before = at('their-keys').textContent.match(/: (.*)$/)?.[1] ?? '';
    write(at('their-keys'), `${call.who} pressed: ${(before + key).slice(-8)}`);
    announce(`${call.who} pressed ${keyName(key)}`);
    clearTimeout(this.#theirKeys);
    this.#theirKeys = setTimeout(() => write(at('their-keys'), ''), THEIR_KEYS_MS);
  }

  #answer(id) {
    audioContext();
    this.#phone.answer(id);
  }

  // --- sounds ---

  ringing({ id, early }) {
    if (early) this.#early.add(id);
  }

  #makeSounds() {
    const state = this.#current?.state;
    const called = this.#calls.some(call => call.state === 'incoming');
    let kind = null;
    if (called) kind = this.#calls.some(call => call.state === 'talking') ? 'knock' : 'ringtone';
    else if (state === 'ringing' && !this.#early.has(this.#current.id)) kind = 'ringback';
    if (kind === this.#sound.kind) return;
    this.#sound.stop();
    const start = { ringtone, ringback, knock: () => ringtone({ quiet: true }) }[kind];
    this.#sound = { kind, stop: start?.() ?? (() => {}) };
  }

  streams(streams) {
    const remote = at('remote');
    if (streams.remote) {
      remote.srcObject = streams.remote;
      remote.play().catch(error => {
        // After a reload some browsers play nothing before the page is touched.
        if (error.name !== 'NotAllowedError') return;
        say('notice', 'Click anywhere to hear the call.');
        addEventListener('pointerdown', () => remote.play().then(() => say('notice'), () => {}), { once: true });
      });
    } else {
      remote.srcObject = null;
    }
    for (const side of ['local', 'remote']) {
      this.#stopMeters[side]?.();
      delete this.#stopMeters[side];
      if (streams[side]) this.#stopMeters[side] = meter(at(`meter-${side}`), streams[side]);
    }
  }
}
