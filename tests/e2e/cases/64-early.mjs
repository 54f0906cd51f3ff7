// Before the answer: early media of one branch and of two, reliable ringing, ringing without sound; and offers that come late.
import assert from 'node:assert/strict';
import { Baresip } from '../lib/baresip.mjs';
import { BrowserPeer, launchChromium } from '../lib/browsers.mjs';
import { Gateway } from '../lib/gateway.mjs';
import { hear, hearWhile } from '../lib/hearing.mjs';
import { delay, until } from '../lib/process.mjs';
import { hangsUp, invite, isHungUpOn, pause, recv, request, response, stream, within } from '../lib/scenario.mjs';
import { callee, caller } from '../lib/sipp.mjs';

const EARLY_HZ = 500;
const ANSWER_HZ = 800;
const RINGBACK_HZ = 425;

export async function setUp() {
  // An account a case: a phone that is gone leaves a binding behind.
  const accounts = { alice: 101, hall: 200, caller: 300, ...Object.fromEntries(Array.from({ length: 6 }, (_, i) => [`callee${i}`, 400 + i])) };
  const gateway = await Gateway.start({ accounts });
  const chromium = await launchChromium();
  const alice = await BrowserPeer.start(chromium, gateway, 'jssip', 'alice');
  const hall = await Baresip.start(gateway, 'hall', { hz: 1000 });
  return { gateway, chromium, alice, hall };
}

export async function tearDown({ gateway, chromium, alice, hall }) {
  await Promise.all([alice.stop(), hall.stop()]);
  await chromium.close();
  await gateway.stop();
}

/** alice calls the account's phones; what they do is in their scenarios. */
async function calls({ gateway, alice }, at, scenarios, test) {
  const phones = [];
  try {
    for (const [scenario, hz] of scenarios) phones.push(await callee(gateway, `callee${at}`, scenario, { hz }));
    await alice.forget();
    await alice.dial(400 + at);
    const words = await test();
    await alice.hangUp();
    await alice.over();
    await Promise.all(phones.map(phone => phone.done()));
    return words;
  } finally {
    await Promise.all(phones.map(phone => phone.stop()));
  }
}

const early = [request('INVITE'), response('183 Session Progress', { sdp: true }), stream()];
const isCancelled = [request('CANCEL'), response('200 OK', { to: undefined, tag: '' })];
const answersAfter = ms => [pause(ms), response('200 OK', { sdp: true }), request('ACK'), isHungUpOn()];
/** CANCEL is answered for itself, and then the INVITE. */
const givesUp = [request('INVITE', { remember: 'invite' }), response('183 Session Progress', { sdp: true }), stream(),
  ...isCancelled, response('487 Request Terminated', { to: 'invite' }), request('ACK')];

async function hearsEarly(alice, hz) {
  await alice.sees(/^ringing 183 with SDP/);
  const words = await hear([[alice, hz]]);
  const events = await alice.page.evaluate(() => window.peer.events());
  assert.ok(!events.includes('confirmed'), 'it was heard before the answer');
  return words;
}

/** The caller's own scenario, against a number. */
async function calling({ gateway }, scenario, number, act = () => {}) {
  const phone = await caller(gateway, 'caller', scenario, { number, hz: EARLY_HZ });
  try {
    const words = await act();
    await phone.done();
    return words;
  } finally {
    await phone.stop();
  }
}

/** The answer brings the offer; ours is in the ACK. */
const late = [invite(), recv(100), recv(180, { optional: true }), recv(200, { target: true }), within('ACK', 2, { sdp: true }), stream(), pause(2_600), hangsUp(3)];

export const cases = [
  { name: 'sound before the answer, and then the answer', test: w => calls(w, 0, [[[...early, ...answersAfter(3_500)], EARLY_HZ]], async () => {
    const words = await hearsEarly(w.alice, EARLY_HZ);
    await w.alice.talks();
    return [...words, ...await hear([[w.alice, EARLY_HZ]])];
  }) },
  { name: 'one branch is heard early, the other answers', test: w => calls(w, 1, [
    [givesUp, EARLY_HZ],
    [[request('INVITE'), response('180 Ringing'), ...answersAfter(3_500).toSpliced(2, 0, stream())], ANSWER_HZ],
  ], async () => {
    const words = await hearsEarly(w.alice, EARLY_HZ);
    await w.alice.talks();
    return [...words, ...await hear([[w.alice, ANSWER_HZ]])];
  }) },
  { name: 'two early dialogs of one phone', test: w => calls(w, 2, [[[
    ...early, pause(500), response('183 Session Progress', { sdp: true, tag: 't' }), pause(3_000),
    response('200 OK', { sdp: true, tag: 't' }), request('ACK'), isHungUpOn(),
  ], EARLY_HZ]], async () => {
    const words = await hearsEarly(w.alice, EARLY_HZ);
    await w.alice.talks();
    return [...words, ...await hear([[w.alice, EARLY_HZ]])];
  }) },
  { name: 'reliable early media', test: w => calls(w, 3, [[[
    request('INVITE', { remember: 'invite' }), response('183 Session Progress', { sdp: true, to: 'invite', headers: ['Require: 100rel', 'RSeq: 7'] }),
    request('PRACK'), response('200 OK', { tag: '' }), stream(), pause(3_500),
    response('200 OK', { sdp: true, to: 'invite' }), request('ACK'), isHungUpOn(),
  ], EARLY_HZ]], async () => {
    const words = await hearsEarly(w.alice, EARLY_HZ);
    await w.alice.talks();
    return [...words, ...await hear([[w.alice, EARLY_HZ]])];
  }) },
  { name: 'ringing without sound is left to the browser', test: w => calls(w, 4, [['callee-answers']], async () => {
    await w.alice.sees(/^ringing 180$/);
    await w.alice.talks();
  }) },
  { name: 'early media ends: ringing is played', test: w => calls(w, 5, [
    [[request('INVITE', { remember: 'invite' }), response('183 Session Progress', { sdp: true }), stream(), pause(1_000), response('486 Busy Here', { to: 'invite' }), request('ACK')], EARLY_HZ],
    ['callee-rings'],
  ], async () => {
    await w.alice.sees(/^ringing 183 with SDP/);
    let words;
    // The tone sounds for one second of five.
    await until('ringing is heard', async () => {
      words = await hearWhile(() => delay(1_000), [[w.alice, RINGBACK_HZ]], { seconds: 0.4 }).catch(() => undefined);
      return words;
    }, 8_000);
    return words;
  }) },
  { name: 'an offer that comes late, to a browser', async test(w) {
    await w.alice.forget();
    return calling(w, late, 101, async () => {
      await w.alice.rings();
      await w.alice.answer();
      await w.alice.talks();
      const words = await hear([[w.alice, EARLY_HZ]]);
      await w.alice.over();
      return words;
    });
  } },
  { name: 'an offer that comes late, to a phone', async test(w) {
    w.hall.forget();
    return calling(w, late, 200, async () => {
      await w.hall.rings();
      w.hall.answer();
      await w.hall.talks();
      const words = await hear([[w.hall, EARLY_HZ]]);
      await w.hall.over();
      return words;
    });
  } },
  { name: 'an offer that comes late, to the echo', test: w => calling(w, late, 600) },
  { name: 'a caller that requires reliable ringing', async test(w) {
    w.hall.forget();
    const scenario = [
      invite({ sdp: true, headers: ['Require: 100rel'] }), recv(100), recv(180, { target: true }),
      within('PRACK', 3, { headers: ['RAck: [$rseq] 2 INVITE'] }), recv(200), recv(200, { target: true }), within('ACK', 2), pause(300), hangsUp(4),
    ].map(step => step.replace('assign_to="to,tag"/>', 'assign_to="to,tag"/><ereg regexp="[0-9]+" search_in="hdr" header="RSeq:" assign_to="rseq"/>'));
    // The 200 of the answer has no RSeq.
    scenario[5] = recv(200, { target: true });
    return calling(w, scenario, 200, async () => {
      await w.hall.rings();
      w.hall.answer();
      await w.hall.over();
    });
  } },
];
