// The few words that all that is shown is made of.

export const at = id => document.getElementById(id);

/** A new element: properties, `data` for its dataset, `aria` for its aria- attributes, and what stands in it. */
export function make(tag, { data = {}, aria = {}, ...properties } = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  Object.assign(element.dataset, data);
  for (const [name, value] of Object.entries(aria)) element.setAttribute(`aria-${name}`, value);
  element.append(...children);
  return element;
}

export function icon(name) {
  const svg = document.createElementNS('http://www.w3.org/2000/svg', 'svg');
  const use = document.createElementNS('http://www.w3.org/2000/svg', 'use');
  use.setAttribute('href', `#i-${name}`);
  svg.append(use);
  return svg;
}

/** Writes only what changed: a screen reader says a live region again whenever it is written. */
export function write(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** Words in a place that is there only while it has some. */
export function say(id, text) {
  write(at(id), text ?? '');
  at(id).hidden = !text;
}

/** Said by a screen reader, and shown nowhere. */
export function announce(text) {
  // The same words twice are two events, which only a new element tells.
  at('announce').replaceChildren(make('span', { textContent: text }));
}

/** Focus, except in fields of touch screens, where it would bring up a keyboard over what is shown. */
export function focus(element) {
  if (element.matches('button, [tabindex]') || matchMedia('(pointer: fine)').matches) element.focus();
}

/** A length of time: 0:07, 1:02:03. */
export function clock(ms) {
  const seconds = Math.max(0, Math.floor(ms / 1000));
  const two = number => String(number).padStart(2, '0');
  const [hours, minutes] = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60];
  return hours ? `${hours}:${two(minutes)}:${two(seconds % 60)}` : `${minutes}:${two(seconds % 60)}`;
}

/** A time of day; with its date if that is not today. */
export function timeOfDay(ms) {
  const then = new Date(ms);
  const time = then.toLocaleTimeString([], { hour: '2-digit', minute: '2-digit' });
  if (then.toDateString() === new Date().toDateString()) return time;
  return `${then.toLocaleDateString([], { day: 'numeric', month: 'short' })}, ${time}`;
}

/** A name's first letter, or for a number the handset. */
export function showAvatar(element, who) {
  if (element.dataset.who === who) return;
  element.dataset.who = who;
  const [letter] = who.match(/^\p{L}/u) ?? [];
  element.replaceChildren(letter ? letter.toUpperCase() : icon('call'));
}

const KEYS = [
  ['1', ''], ['2', 'ABC'], ['3', 'DEF'], ['4', 'GHI'], ['5', 'JKL'], ['6', 'MNO'],
  ['7', 'PQRS'], ['8', 'TUV'], ['9', 'WXYZ'], ['*', ''], ['0', '+'], ['#', ''],
];

/** A key as it is said. */
export const keyName = key => ({ '*': 'Star', '#': 'Hash' })[key] ?? key;

/** Fills `into` with the twelve keys. */
export function pad(into, pressed) {
  into.append(...KEYS.map(([key, letters]) => {
    const button = make('button', { type: 'button', className: 'key', data: { testid: `${into.id}-${key}` }, aria: { label: keyName(key) } },
      key, make('small', { textContent: letters }));
    button.addEventListener('click', () => pressed(key));
    return button;
  }));
}
