// Who hears whom, in mid-call: each plays its own tone, and each is asked what it hears from now on.
import assert from 'node:assert/strict';
import { delay } from './process.mjs';
import { analyse, assertTone } from './tone.mjs';

/** What of the gateway's own making a peer hears: Gateway.start({ music: MUSIC_HZ }) plays it to who is held. */
export const MUSIC_HZ = 350;
const LISTEN_MS = 1_600;

/** Everyone's ears at the same time: [[who, what it must hear, in Hz], …]. */
export const hear = expected => hearWhile(() => delay(LISTEN_MS), expected);

/** What all hear while something happens; `limits` as for assertTone(). */
export async function hearWhile(act, expected, limits = {}) {
  await Promise.all(expected.map(([who]) => who.listen()));
  await act();
  const heard = await Promise.all(expected.map(async ([who, hz]) => ({ who, hz, recording: await who.heard() })));
  return heard.map(({ who, hz, recording }) => assertTone(`${who.name} hears`, recording, hz, { seconds: 1, ...limits }));
}

export const hearEachOther = (a, b) => hear([[a, b.hz], [b, a.hz]]);

/** There is sound, but not `hz`: music, when a tone was heard before. */
export async function hearsOther(who, hz) {
  await who.listen();
  await delay(LISTEN_MS);
  const { samples, rate } = await who.heard();
  const { snrDb } = analyse(samples, rate, hz);
  const level = Math.sqrt(samples.reduce((sum, sample) => sum + sample ** 2, 0) / Math.max(samples.length, 1));
  const words = `${who.name} hears music: level ${(20 * Math.log10(level + 1e-9)).toFixed(1)} dB, ${hz} Hz at ${snrDb.toFixed(1)} dB over the rest`;
  assert.ok(level > 0.003 && snrDb < 3 && samples.length > rate, words);
  return words;
}

/** A call from one to the other, answered. */
export async function connect(caller, callee, number) {
  await Promise.all([caller.forget(), callee.forget()]);
  await caller.dial(number);
  await callee.rings();
  await callee.answer();
  await Promise.all([caller.talks(), callee.talks()]);
}

export async function hangUp(who, other) {
  await who.hangUp();
  await Promise.all([who.over(), other.over()]);
}
