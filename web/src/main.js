// The page: signs in, and joins the telephone to what is shown of it.
import { Phone } from '#phone';
import { CallView } from './call-view.js';
import { ChatView } from './chat-view.js';
import { announce, at, focus, make, pad, say } from './dom.js';
import { Recent } from './recent.js';
import { audioContext, keyTone } from './sounds.js';
import { keepForReload, rememberName, rememberedName, takeForReload } from './storage.js';

const TOLD_MS = 7000;

const phone = new Phone((event, detail) => ON[event](detail));
const recent = new Recent(number => dial(number));
const calls = new CallView(phone, { show, write: (number, who) => chat.open(number, who) });
const chat = new ChatView(phone, {
  show: () => showPart('messages'),
  visible: () => document.body.dataset.part === 'messages',
  unread: showUnread,
  dial: number => {
    showPart('calls');
    dial(number);
  },
});
let config = { domain: location.hostname, websocket_path: '/ws', demo_numbers: [] };
/** {name, password, instance}: kept while signed in, for a reload. */
let account = null;
let latest = { calls: [], current: null };
let unread = 0;
let toldTimer;

// --- what is shown ---

function show(view, focused) {
  for (const section of document.querySelectorAll('.view')) section.hidden = section.id !== `view-${view}`;
  const signedIn = view !== 'sign-in';
  at('who').hidden = at('tabs').hidden = !signedIn;
  document.body.dataset.view = view;
  showPart(signedIn && (view === 'dial' || document.body.dataset.part === 'messages' && !urgent(view)) ? document.body.dataset.part : 'calls');
  // Who is writing is not torn away from it.
  if (focused && !document.activeElement?.matches('#chat textarea')) focus(at(focused));
}

/** Who is called must see it; a call that goes on may stay behind the messages. */
const urgent = view => view === 'incoming' || (view === 'call' && latest.calls.some(({ since }) => !since));

/** On a narrow screen one part at a time; on a wide one the telephone stays, and the other stands beside it. */
function showPart(part) {
  document.body.dataset.part = part;
  for (const name of ['calls', 'messages']) at(`tab-${name}`).setAttribute('aria-pressed', name === part);
  at('chat').hidden = part !== 'messages';
  at('recent').hidden = part !== 'calls' || at('tabs').hidden || recent.empty;
  chat.seen();
}

function showRegistration(state) {
  const words = { connecting: 'Connecting…', registered: `Registered as ${account?.name}`, lost: 'Reconnecting…' };
  at('registration').textContent = words[state] ?? '';
  at('registration').dataset.state = state;
}

const connected = () => at('registration').dataset.state === 'registered';

function showTitle() {
  const incoming = latest.calls.find(({ state }) => state === 'incoming');
  const current = latest.calls.find(({ id }) => id === latest.current);
  const what = incoming ? `${incoming.who} is calling · ` : current ? `${current.who} · ` : '';
  document.title = `${unread ? `(${unread}) ` : ''}${what}Ringway`;
}

function showUnread(count) {
  unread = count;
  say('unread', count ? String(count) : '');
  at('tab-messages').setAttribute('aria-label', count ? `Messages, ${count} unread` : 'Messages');
  showTitle();
}

function tell(words) {
  say('told', words);
  clearTimeout(toldTimer);
  toldTimer = setTimeout(() => say('told'), TOLD_MS);
}

// --- what happens ---

const ON = {
  registration({ state, reason }) {
    if (state === 'refused') {
      signOut();
      focus(at('password'));
      say('sign-in-error', reason);
      return;
    }
    showRegistration(state);
    at('sign-in').disabled = state === 'connecting';
    const talking = latest.calls.some(({ since }) => since);
    const goesOn = talking ? 'your call goes on.' : 'calls and messages wait until then.';
    say('notice', state === 'lost' ? `${reason ?? 'Connection lost'}, reconnecting… ${goesOn}`.replace('.,', ':') : '');
    if (state === 'registered') {
      chat.signedIn(account.name, account.instance);
      if (document.body.dataset.view === 'sign-in') {
        at('password').value = '';
        show('dial', 'number');
      }
    }
    calls.update(latest, connected());
  },

  calls(now) {
    // What became of the last wish is of no interest with a new call.
    if (now.calls.some(({ id }) => !latest.calls.some(call => call.id === id))) say('told');
    latest = now;
    calls.update(now, connected());
    at('chat-call').disabled = calls.busy;
    showTitle();
  },

  incoming() {
    say('reason');
    if (latest.calls.length === 1) showPart('calls');
  },

  ringing: detail => calls.ringing(detail),
  streams: streams => calls.streams(streams),
  key: detail => calls.heard(detail),
  told: ({ words }) => tell(words),
  message: message => chat.received(message),
  presence: detail => chat.presence(detail),

  trouble({ reason }) {
    if (connected()) say('notice', reason);
  },

  over(detail) {
    const { call, ours } = detail;
    recent.add(detail);
    const more = latest.calls.some(({ id }) => id !== call.id);
    const reason = detail.reason && !call.since && !ours ? `${call.who}: ${detail.reason}` : detail.reason;
    if (connected()) say('notice');
    if (more) {
      if (reason && !detail.said) tell(reason);
      return;
    }
    if (document.body.dataset.view === 'sign-in') return;
    at('number').value = '';
    show('dial', 'number');
    say('reason', reason);
  },
};

// --- what people do ---

async function dial(number) {
  number = number.trim();
  if (!number || calls.busy) return;
  if (!connected()) {
    say('reason', 'You are not connected to the gateway at the moment. Wait until it says “Registered”.');
    return;
  }
  audioContext();
  say('reason');
  await phone.call(number);
}

function signIn({ name, password, instance }, tickets) {
  account = { name, password, instance };
  at('sign-in').disabled = true;
  const scheme = location.protocol === 'https:' ? 'wss' : 'ws';
  const websocketUrl = `${scheme}://${location.host}${config.websocket_path}`;
  phone.signIn({ ...account, domain: config.domain, websocketUrl, tickets });
}

function signOut() {
  account = null;
  at('registration').dataset.state = '';
  document.body.dataset.view = 'sign-in';
  phone.signOut();
  chat.signedOut();
  recent.clear();
  for (const id of ['notice', 'told', 'reason']) say(id);
  showUnread(0);
  at('sign-in').disabled = false;
  document.body.dataset.part = 'calls';
  show('sign-in', 'name');
}

at('view-sign-in').addEventListener('submit', event => {
  event.preventDefault();
  const name = at('name').value.trim().toLowerCase();
  rememberName(at('remember').checked ? name : '');
  say('sign-in-error');
  audioContext();
  signIn({ name, password: at('password').value, instance: crypto.randomUUID() });
});
at('sign-out').addEventListener('click', signOut);
at('dial').addEventListener('submit', event => {
  event.preventDefault();
  dial(at('number').value);
});
at('erase').addEventListener('click', () => {
  at('number').value = at('number').value.slice(0, -1);
  at('number').focus();
});
pad(at('pad-dial'), key => {
  keyTone(key);
  at('number').value += key;
  announce(at('number').value.split('').join(' '));
});
for (const part of ['calls', 'messages']) at(`tab-${part}`).addEventListener('click', () => showPart(part));
addEventListener('pagehide', () => {
  // Nobody knows whether the page comes back: calls are left standing, and the gateway ends those whose page does not.
  if (account && document.body.dataset.view !== 'sign-in') keepForReload({ ...account, part: document.body.dataset.part, tickets: phone.leave() });
  else phone.signOut();
});
// The browser's back button may bring the page back as it was, but its telephone has been put down.
addEventListener('pageshow', event => event.persisted && location.reload());

async function start() {
  at('name').value = rememberedName();
  at('remember').checked = Boolean(at('name').value);
  const kept = takeForReload();
  if (kept) {
    document.body.dataset.part = kept.part;
    show('dial');
  } else {
    document.body.dataset.part = 'calls';
    show('sign-in', at('name').value ? 'password' : 'name');
  }
  try {
    const response = await fetch('/config.json');
    if (!response.ok) throw new Error(response.statusText);
    config = await response.json();
  } catch {
    say('notice', 'The gateway does not answer. Reload the page when it runs.');
  }
  at('domain').textContent = config.domain;
  at('footer').textContent = config.version ? `Ringway ${config.version}` : '';
  at('try').hidden = config.demo_numbers.length === 0;
  at('try').append(...config.demo_numbers.map(({ number, what }) => {
    const button = make('button', { type: 'button', className: 'chip' }, make('b', { textContent: number }), ` ${what}`);
    button.addEventListener('click', () => dial(number));
    return button;
  }));
  if (kept) signIn(kept, kept.tickets);
}

start();
