// Who calls whom, and whether both hear each other: each plays its own tone, and the other's recording must hold it.
import assert from 'node:assert/strict';
import { Baresip } from '../lib/baresip.mjs';
import { BrowserPeer, launchChromium, launchFirefox } from '../lib/browsers.mjs';
import { Gateway } from '../lib/gateway.mjs';
import { delay } from '../lib/process.mjs';
import { assertTone } from '../lib/tone.mjs';

const TALK_MS = 3_500;

export async function setUp() {
  const accounts = { alice: 101, sally: 102, fox: 103, hall: 200, desk: 201 };
  const gateway = await Gateway.start({ accounts });
  const [chromium, firefox] = await Promise.all([launchChromium(), launchFirefox()]);
  const world = { gateway, chromium, firefox };
  world.hall = await Baresip.start(gateway, 'hall', { hz: 1000 });
  world.desk = await Baresip.start(gateway, 'desk', { hz: 600, codec: 'PCMA' });
  world.alice = await BrowserPeer.start(chromium, gateway, 'jssip', 'alice');
  world.sally = await BrowserPeer.start(chromium, gateway, 'sipjs', 'sally');
  world.fox = await BrowserPeer.start(firefox, gateway, 'jssip', 'fox');
  return world;
}

export async function tearDown(world) {
  for (const who of ['alice', 'sally', 'fox', 'hall', 'desk']) await world[who].stop();
  await Promise.all([world.chromium.close(), world.firefox.close()]);
  await world.gateway.stop();
}

async function talk(caller, callee, number, { hangsUp = caller } = {}) {
  for (const who of [caller, callee]) {
    await who.forget();
    await who.clearRecordings?.();
  }
  await caller.dial(number);
  await callee.rings();
  await callee.answer();
  await Promise.all([caller.talks(), callee.talks()]);
  await delay(TALK_MS);
  // A browser's recording is read while the call lasts, a phone's when its file is closed.
  const browsers = [caller, callee].filter(who => who instanceof BrowserPeer);
  const early = new Map(await Promise.all(browsers.map(async who => [who, await who.recording()])));
  await hangsUp.hangUp();
  await Promise.all([caller.over(), callee.over()]);
  const heard = async who => early.get(who) ?? await who.recording();
  return [
    assertTone(`${callee.name} hears ${caller.name}`, await heard(callee), caller.hz),
    assertTone(`${caller.name} hears ${callee.name}`, await heard(caller), callee.hz),
  ];
}

async function service(caller, number, hz) {
  await caller.forget();
  await caller.dial(number);
  await caller.talks();
  await delay(TALK_MS);
  const recording = await caller.recording();
  await caller.hangUp();
  await caller.over();
  return assertTone(`${caller.name} at ${number}`, recording, hz);
}

/** What it sends a packet with what its codec is told, a second into a call. */
async function sends(caller, number, callee) {
  for (const who of [caller, callee].filter(Boolean)) await who.forget();
  await caller.dial(number);
  await callee?.rings();
  await callee?.answer();
  await caller.talks();
  await delay(1_000);
  const before = await caller.sends();
  await delay(2_000);
  const { parameters, bytes, packets } = await caller.sends();
  await caller.hangUp();
  await Promise.all([caller.over(), callee?.over()]);
  return { parameters, each: (bytes - before.bytes) / (packets - before.packets), packets: packets - before.packets };
}

/** RFC 7587 section 6.1. */
async function asksForNarrowband(browser, phone, number) {
  const [toPhone, toItself] = [await sends(browser, number, phone), await sends(browser, 600)];
  const words = `${browser.name} sends a phone ${toPhone.each.toFixed(0)} bytes a packet (${toPhone.parameters}), itself ${toItself.each.toFixed(0)} (${toItself.parameters})`;
  assert.ok(toPhone.each < 0.85 * toItself.each, words);
  // Nobody has asked for pauses: a phone may take silence for a line that is dead.
  assert.ok(toPhone.packets > 90, `${toPhone.packets} packets in 2 s`);
  return words;
}

export const cases = [
  { name: 'Chromium with JsSIP calls baresip', test: w => talk(w.alice, w.hall, 200) },
  { name: 'baresip calls Chromium with JsSIP', test: w => talk(w.hall, w.alice, 101) },
  { name: 'Chromium with SIP.js calls baresip', test: w => talk(w.sally, w.hall, 200) },
  { name: 'baresip calls Chromium with SIP.js', test: w => talk(w.hall, w.sally, 102) },
  { name: 'Firefox with JsSIP calls baresip', test: w => talk(w.fox, w.hall, 200) },
  { name: 'baresip calls Firefox with JsSIP', test: w => talk(w.hall, w.fox, 103) },
  { name: 'Chromium calls Firefox', test: w => talk(w.alice, w.fox, 103) },
  { name: 'Firefox calls Chromium, which hangs up', test: w => talk(w.fox, w.alice, 101, { hangsUp: w.alice }) },
  { name: 'baresip with µ-law calls baresip with A-law', test: w => talk(w.hall, w.desk, 201) },
  { name: 'the phone that was called hangs up on Chromium', test: w => talk(w.alice, w.desk, 201, { hangsUp: w.desk }) },
  { name: 'the browser that was called hangs up on baresip', test: w => talk(w.desk, w.alice, 101, { hangsUp: w.alice }) },
  { name: 'Chromium hears its echo at 600', test: w => service(w.alice, 600, w.alice.hz) },
  { name: 'Chromium sends a phone no more than it hears', test: w => asksForNarrowband(w.alice, w.hall, 200) },
  { name: 'Firefox sends a phone no more than it hears', test: w => asksForNarrowband(w.fox, w.hall, 200) },
  { name: 'Chromium hears 440 Hz at 601', test: w => service(w.alice, 601, 440) },
];
