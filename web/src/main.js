// The page: what is shown when, and what each button does. The telephone itself is phone.js.
import { Phone } from '#phone';
import { meter } from './meter.js';
import { audioContext, keyTone, ringback, ringtone } from './sounds.js';

const at = id => document.getElementById(id);
const REMEMBERED = 'ringway.name';
const KEYS = [
  ['1', ''], ['2', 'ABC'], ['3', 'DEF'], ['4', 'GHI'], ['5', 'JKL'], ['6', 'MNO'],
  ['7', 'PQRS'], ['8', 'TUV'], ['9', 'WXYZ'], ['*', ''], ['0', '+'], ['#', ''],
];

const phone = new Phone((event, detail) => ON[event](detail));
let config = { domain: location.hostname, websocket_path: '/ws', demo_numbers: [] };
let name = '';
let call = null; // {who, incoming, started, answered}
let stopSound = () => {};
let stopMeters = {};
let timer;
const recent = [];

// --- what is shown ---

function show(view, focus) {
  for (const section of document.querySelectorAll('.view')) section.hidden = section.id !== `view-${view}`;
  at('who').hidden = view === 'sign-in';
  at('recent').hidden = view === 'sign-in' || recent.length === 0;
  document.body.dataset.view = view;
  // On a touch screen focus in a field would bring up the keyboard over the keys.
  if (focus && (at(focus).tagName === 'BUTTON' || matchMedia('(pointer: fine)').matches)) at(focus).focus();
}

function say(id, text) {
  at(id).textContent = text ?? '';
  at(id).hidden = !text;
}

function showRegistration(state) {
  const words = { connecting: 'Connecting…', registered: `Registered as ${name}`, lost: 'Reconnecting…' };
  at('registration').textContent = words[state] ?? '';
  at('registration').dataset.state = state;
}

/** A name's first letter, or for a number the handset. */
function showAvatar(element, who) {
  const [letter] = who.match(/^\p{L}/u) ?? [];
  if (letter) return element.replaceChildren(letter.toUpperCase());
  const handset = at('call').querySelector('svg').cloneNode(true);
  return element.replaceChildren(handset);
}

const clock = ms => {
  const seconds = Math.floor(ms / 1000);
  const two = number => String(number).padStart(2, '0');
  const [hours, minutes] = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60];
  return hours ? `${hours}:${two(minutes)}:${two(seconds % 60)}` : `${minutes}:${two(seconds % 60)}`;
};

function showRecent() {
  at('recent-list').replaceChildren(...recent.map(entry => {
    const button = document.createElement('button');
    const icon = { out: '↗', in: '↙', missed: '↙' }[entry.kind];
    const words = { out: 'You called', in: 'Called you', missed: 'Missed call from' }[entry.kind];
    const span = (className, text) => Object.assign(document.createElement('span'), { className, textContent: text });
    button.className = `entry ${entry.kind}`;
    button.append(span('way', icon), span('peer', entry.who), span('result', entry.result), span('when', entry.when));
    button.setAttribute('aria-label', `${words} ${entry.who}, ${entry.when}, ${entry.result}. Call again.`);
    button.addEventListener('click', () => dial(entry.number));
    const item = document.createElement('li');
    item.append(button);
    return item;
  }));
}

function pad(into, pressed) {
  into.append(...KEYS.map(([key, letters]) => {
    const button = document.createElement('button');
    button.type = 'button';
    button.className = 'key';
    button.dataset.testid = `${into.id}-${key}`;
    button.append(key, Object.assign(document.createElement('small'), { textContent: letters }));
    button.setAttribute('aria-label', { '*': 'Star', '#': 'Hash' }[key] ?? key);
    button.addEventListener('click', () => pressed(key));
    return button;
  }));
}

// --- a call's way ---

function begin(who, number, incoming) {
  call = { who, number, incoming, started: new Date(), answered: null };
  say('reason');
  document.title = incoming ? `${who} is calling · Ringway` : `${who} · Ringway`;
}

function showCall(state) {
  at('call-who').textContent = call.who;
  showAvatar(at('call-avatar'), call.who);
  at('call-state').textContent = state;
  at('timer').textContent = '';
  at('call-avatar').classList.toggle('ringing', !call.answered);
  at('mute').disabled = at('keypad').disabled = !call.answered;
  show('call', 'hang-up');
}

async function dial(number) {
  number = number.trim();
  if (!number || call) return;
  if (at('registration').dataset.state !== 'registered') {
    say('reason', 'You are not connected to the gateway at the moment. Wait until it says “Registered”.');
    return;
  }
  audioContext();
  begin(number, number, false);
  showCall('Calling…');
  await phone.call(number);
}

function setMute(yes) {
  phone.mute(yes);
  at('mute').setAttribute('aria-pressed', yes);
  at('mute').lastElementChild.textContent = yes ? 'Unmute' : 'Mute';
  at('mute').querySelector('use').setAttribute('href', yes ? '#i-mic-off' : '#i-mic');
}

function setKeypad(yes) {
  at('dtmf').hidden = !yes;
  at('keypad').setAttribute('aria-expanded', yes);
}

function sendDigit(key) {
  keyTone(key);
  phone.digit(key);
  at('digits').textContent = (at('digits').textContent + key).slice(-24);
}

function silence() {
  stopSound();
  stopSound = () => {};
}

const ON = {
  registration({ state, reason }) {
    if (state === 'refused') {
      phone.signOut();
      show('sign-in', 'password');
      say('notice');
      say('sign-in-error', reason);
      at('sign-in').disabled = false;
      return;
    }
    showRegistration(state);
    const inCall = call?.answered ? ' Your call goes on as long as it can.' : '';
    say('notice', state === 'lost' ? `${reason ?? 'The connection to the gateway is lost.'} Trying again…${inCall}` : '');
    if (state === 'lost') at('sign-in').disabled = false;
    if (state === 'registered' && document.body.dataset.view === 'sign-in') {
      at('password').value = '';
      at('sign-in').disabled = false;
      show('dial', 'number');
    }
  },

  incoming({ who, number }) {
    begin(who, number ?? who, true);
    at('incoming-who').textContent = who;
    showAvatar(at('incoming-avatar'), who);
    show('incoming', 'answer');
    stopSound = ringtone();
  },

  ringing({ early }) {
    at('call-state').textContent = 'Ringing…';
    silence();
    if (!early) stopSound = ringback();
  },

  answered() {
    if (!call || call.answered) return;
    silence();
    call.answered = Date.now();
    showCall('');
    at('meters').hidden = false;
    document.title = `${call.who} · Ringway`;
    const tick = () => { at('timer').textContent = clock(Date.now() - call.answered); };
    tick();
    timer = setInterval(tick, 500);
  },

  streams(streams) {
    if (streams.remote) {
      at('remote').srcObject = streams.remote;
      at('remote').play().catch(() => {});
    }
    for (const side of ['local', 'remote']) {
      stopMeters[side]?.();
      delete stopMeters[side];
      if (streams[side]) stopMeters[side] = meter(at(`meter-${side}`), streams[side]);
    }
  },

  trouble({ reason }) {
    if (call?.answered) say('notice', reason);
  },

  over({ reason, missed, ours }) {
    silence();
    clearInterval(timer);
    for (const stop of Object.values(stopMeters)) stop();
    stopMeters = {};
    at('remote').srcObject = null;
    at('meters').hidden = true;
    at('digits').textContent = '';
    setKeypad(false);
    at('mute').setAttribute('aria-pressed', 'true');
    setMute(false);
    document.title = 'Ringway';
    if (call) {
      const { who, number, incoming, started, answered } = call;
      const kind = incoming ? (missed ? 'missed' : 'in') : 'out';
      const short = reason ? reason.split(/[.;]/)[0] : { missed: 'Missed', in: 'Declined', out: 'Cancelled' }[kind];
      const result = answered ? clock(Date.now() - answered) : short;
      const when = started.toLocaleTimeString([], { hour: '2-digit', minute: '2-digit' });
      recent.unshift({ who, number, kind, result, when });
      recent.length = Math.min(recent.length, 20);
      showRecent();
      if (reason && !answered && !ours) reason = `${who}: ${reason}`;
    }
    call = null;
    if (at('registration').dataset.state === 'registered') say('notice');
    if (document.body.dataset.view !== 'sign-in') {
      at('number').value = '';
      show('dial', 'number');
      say('reason', reason);
    }
  },
};

// --- what people do ---

at('view-sign-in').addEventListener('submit', event => {
  event.preventDefault();
  name = at('name').value.trim().toLowerCase();
  if (at('remember').checked) localStorage.setItem(REMEMBERED, name);
  else localStorage.removeItem(REMEMBERED);
  say('sign-in-error');
  at('sign-in').disabled = true;
  audioContext();
  const scheme = location.protocol === 'https:' ? 'wss' : 'ws';
  const websocketUrl = `${scheme}://${location.host}${config.websocket_path}`;
  phone.signIn({ name, password: at('password').value, domain: config.domain, websocketUrl });
});
at('sign-out').addEventListener('click', () => {
  phone.signOut();
  say('notice');
  recent.length = 0;
  show('sign-in', 'name');
});
at('dial').addEventListener('submit', event => {
  event.preventDefault();
  dial(at('number').value);
});
at('erase').addEventListener('click', () => {
  at('number').value = at('number').value.slice(0, -1);
  at('number').focus();
});
at('answer').addEventListener('click', () => {
  silence();
  showCall('Connecting…');
  phone.answer();
});
at('decline').addEventListener('click', () => phone.hangUp());
at('hang-up').addEventListener('click', () => phone.hangUp());
at('mute').addEventListener('click', () => setMute(at('mute').getAttribute('aria-pressed') !== 'true'));
at('keypad').addEventListener('click', () => setKeypad(at('dtmf').hidden));
pad(at('pad-dial'), key => {
  keyTone(key);
  at('number').value += key;
});
pad(at('pad-dtmf'), sendDigit);
addEventListener('keydown', event => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (call?.answered && /^[0-9*#]$/.test(event.key)) sendDigit(event.key);
});
// The other side and the gateway need not find out by themselves.
addEventListener('pagehide', () => phone.signOut());
// The browser's back button may bring the page back as it was, but its telephone has been put down.
addEventListener('pageshow', event => event.persisted && location.reload());

async function start() {
  at('name').value = localStorage.getItem(REMEMBERED) ?? '';
  at('remember').checked = Boolean(at('name').value);
  show('sign-in', at('name').value ? 'password' : 'name');
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
    const button = Object.assign(document.createElement('button'), { type: 'button', className: 'chip' });
    button.append(Object.assign(document.createElement('b'), { textContent: number }), ` ${what}`);
    button.addEventListener('click', () => dial(number));
    return button;
  }));
}

start();
