// What the page does in a call: hold, keys, transfers, a second call, and coming back after a lost connection or a reload.
// alice is the page; the hall phone says in words what it hears; bob is another browser with a tone of his own.
import assert from 'node:assert/strict';
import { mkdir } from 'node:fs/promises';
import { BrowserPeer, CHROMIUM_HZ, launchChromium } from '../lib/browsers.mjs';
import { ANALOG_PHONE, DOMAIN, Gateway, passwordOf } from '../lib/gateway.mjs';
import { Child } from '../lib/process.mjs';
import { SCREENS, Softphone } from '../lib/softphone.mjs';
import { endReason } from '../../../web/src/reasons.js';

const TONE = new RegExp(`heard ${CHROMIUM_HZ} Hz`);
const MUSIC = new RegExp(`heard (?!${CHROMIUM_HZ} Hz|silence)`);

export async function setUp() {
  await mkdir(SCREENS, { recursive: true });
  const gateway = await Gateway.start({ accounts: { alice: 101, bob: 102, carol: 103, hall: 200 } });
  const chromium = await launchChromium();
  const hall = new Child('analog phone', ANALOG_PHONE, ['--gateway', gateway.sip, '--user', 'hall', '--password', passwordOf('hall'), '--domain', DOMAIN]);
  await hall.sees(/registered as hall/);
  const [alice, bob] = [await Softphone.start(chromium, gateway, 'alice'), await BrowserPeer.start(chromium, gateway, 'jssip', 'bob')];
  return { gateway, chromium, hall, alice, bob };
}

export async function tearDown({ gateway, chromium, hall }) {
  await chromium.close();
  await hall.stop();
  await gateway.stop();
}

/** alice calls the hall phone and is heard there. Gives where its words of this call begin. */
async function callHall({ alice, hall }) {
  const from = hall.text.length;
  await alice.dial(200);
  await hall.sees(/answered/, 10_000, from);
  await alice.talks();
  await hall.sees(TONE, 10_000, from);
  return from;
}

async function bobCalls({ alice, bob }) {
  await bob.forget();
  await bob.dial(101);
  await alice.says('incoming-who', /bob/);
  await alice.at('answer').click();
  await bob.sees(/^confirmed/);
  await alice.talks();
}

async function over({ alice, hall }, from) {
  await alice.hangUp();
  await hall.sees(/has hung up/, 5_000, from);
  await alice.idle();
}

async function transfer({ alice }, to, how) {
  await alice.at('transfer').click();
  await alice.at('transfer-to').fill(to);
  await alice.at(how).click();
}

export const cases = [
  { name: 'hold: the phone hears music, and after resuming the page again', async test(w) {
    const { alice, hall } = w;
    const from = await callHall(w);
    let since = hall.text.length;
    await alice.at('hold').click();
    await alice.says('call-state', /^On hold$/);
    await hall.sees(MUSIC, 10_000, since);
    await alice.picture('10-hold');
    since = hall.text.length;
    await alice.at('hold').click();
    await alice.says('call-state', /^$/);
    await hall.sees(TONE, 10_000, since);
    await alice.hearsSpeech();
    await over(w, from);
  } },
  { name: 'keys by the keyboard, but not while one writes', async test(w) {
    const { alice, hall } = w;
    const from = await callHall(w);
    for (const key of '4*#') await alice.page.keyboard.press(key);
    await hall.sees(/key 4[^]*key \*[^]*key #/, 5_000, from);
    await alice.says('digits', /^4\*#$/);
    await alice.at('transfer').click();
    await alice.at('transfer-to').press('7');
    await alice.page.keyboard.press('Escape');
    await alice.at('transfer-form').waitFor({ state: 'hidden' });
    assert.equal(await alice.text('digits'), '4*#', 'a number that is written is no key');
    await over(w, from);
  } },
  { name: 'the other side’s keys are shown', async test(w) {
    const { alice, bob } = w;
    await bobCalls(w);
    await bob.press('5#');
    await alice.says('their-keys', /^bob pressed: 5#$/);
    await alice.says('their-keys', /^$/);
    await bob.hangUp();
    await alice.idle();
  } },
  { name: 'transfer now: the two talk, and the page is free', async test(w) {
    const { alice, bob, hall } = w;
    await bobCalls(w);
    const from = hall.text.length;
    await alice.at('transfer').click();
    await alice.picture('11-transfer');
    await alice.at('transfer-to').fill('200');
    await alice.at('transfer-now').click();
    await alice.says('call-state', /^Transferring bob – it rings at 200…$/);
    await alice.says('told', /^bob is talking to 200 now\.$/);
    await alice.idle();
    await hall.sees(TONE, 10_000, from);
    await bob.hangUp();
    await hall.sees(/has hung up/, 5_000, from);
  } },
  { name: 'a transfer that fails says why, and the call goes on', async test(w) {
    const { alice, bob, hall } = w;
    await bobCalls(w);
    await transfer(w, '600', 'transfer-now');
    await alice.says('told', /^You may not transfer to 600 – you are still talking to bob\.$/);
    await transfer(w, '999', 'transfer-now');
    await alice.says('told', /^Nobody has the name or number 999 – you are still talking to bob\.$/);
    await transfer(w, 'carol', 'transfer-now');
    await alice.says('told', /^carol did not answer or cannot be reached – you are talking to bob again\.$/);
    await alice.says('call-state', /^$/);
    await bob.hangUp();
    await alice.idle();
  } },
  { name: 'ask first, then connect them', async test(w) {
    const { alice, bob, hall } = w;
    await bobCalls(w);
    const from = hall.text.length;
    await transfer(w, '200', 'transfer-ask');
    await alice.says('call-who', /^200$/);
    await alice.says('row-who', /^bob$/);
    await alice.says('row-state', /^On hold$/);
    await hall.sees(/answered/, 10_000, from);
    await alice.talks();
    await alice.picture('13-ask-first');
    // With alice muted, the tone that the phone hears afterwards is bob's.
    let since = hall.text.length;
    await alice.at('mute').click();
    await hall.sees(/heard silence/, 10_000, since);
    since = hall.text.length;
    await alice.at('connect').click();
    await alice.says('told', /^bob and 200 are talking to each other now\.$/);
    await alice.idle();
    await hall.sees(TONE, 10_000, since);
    await bob.hangUp();
    await hall.sees(/has hung up/, 5_000, since);
  } },
  { name: 'ask first: who cannot be reached, and going back', async test(w) {
    const { alice, bob, hall } = w;
    await bobCalls(w);
    await transfer(w, '103', 'transfer-ask');
    await alice.says('told', /^103: Not reachable right now – you are talking to bob again\.$/);
    await alice.says('recent-list', /^↗103Not reachable right now/);
    await alice.says('call-who', /^bob$/);
    await alice.says('call-state', /^$/);
    const from = hall.text.length;
    await transfer(w, '200', 'transfer-ask');
    await hall.sees(/answered/, 10_000, from);
    await alice.at('back').click();
    await hall.sees(/has hung up/, 5_000, from);
    await alice.says('call-who', /^bob$/);
    await alice.says('call-state', /^$/);
    await bob.hangUp();
    await alice.idle();
  } },
  { name: 'a second call comes; switching between the two', async test(w) {
    const { alice, bob, hall } = w;
    const from = await callHall(w);
    await bob.forget();
    await bob.dial(101);
    await alice.says('row-state', /^is calling you$/);
    await alice.picture('14-second');
    let since = hall.text.length;
    await alice.at('row-answer').click();
    await bob.sees(/^confirmed/);
    await alice.says('call-who', /^bob$/);
    await alice.says('row-state', /^On hold$/);
    await hall.sees(MUSIC, 10_000, since);
    since = hall.text.length;
    await alice.at('row-resume').click();
    await alice.says('call-who', /^200$/);
    await alice.says('row-who', /^bob$/);
    await alice.says('row-state', /^On hold$/);
    await hall.sees(TONE, 10_000, since);
    await alice.hangUp();
    await hall.sees(/has hung up/, 5_000, from);
    await alice.says('call-who', /^bob$/);
    await alice.hangUp();
    await bob.sees(/^ended/);
    await alice.idle();
  } },
  { name: 'a second call is declined, and the first goes on', async test(w) {
    const { alice, bob } = w;
    const from = await callHall(w);
    await bob.forget();
    await bob.dial(101);
    await alice.at('row-decline').click();
    await bob.sees(/^failed remote 486/);
    await alice.at('row').waitFor({ state: 'detached' });
    await alice.hearsSpeech();
    await over(w, from);
  } },
  { name: 'another device of alice answers: no missed call', async test({ alice, bob, chromium, gateway }) {
    const other = await BrowserPeer.start(chromium, gateway, 'jssip', 'alice');
    await bob.forget();
    await bob.dial(101);
    await other.sees(/^incoming/);
    await alice.at('view-incoming').waitFor();
    await other.answer();
    await alice.idle();
    await alice.says('recent-list', /^↙bobAnswered elsewhere/);
    await bob.hangUp();
    await other.sees(/^ended/);
    await other.stop();
  } },
  { name: 'the connection is cut: the call goes on', async test(w) {
    const { alice, hall } = w;
    await callHall(w);
    await alice.page.evaluate(() => window.lastSocket.close());
    await alice.says('notice', /^Connection lost, reconnecting… your call goes on\.$/);
    await alice.says('registration', /^Registered as alice$/, 15_000);
    await alice.says('notice', /^$/);
    await alice.hearsSpeech();
    // It arrives over the new connection.
    hall.say('hang up');
    await alice.idle();
  } },
  { name: 'the page is loaded anew in mid-call: both hear each other again', async test(w) {
    const { alice, hall } = w;
    const from = await callHall(w);
    await alice.page.reload();
    await alice.says('told', /^Back in your call with 200\.$/, 15_000);
    await alice.talks();
    await alice.picture('15-back');
    await alice.hearsSpeech();
    // The phone hears the new page and no echo of the old one: it falls silent with it, and speaks again with it.
    let since = hall.text.length;
    await alice.at('mute').click();
    await hall.sees(/heard silence/, 10_000, since);
    since = hall.text.length;
    await alice.at('mute').click();
    await hall.sees(TONE, 10_000, since);
    await over(w, from);
  } },
  { name: 'loaded anew when the call has ended meanwhile', async test(w) {
    const { alice, hall } = w;
    const from = await callHall(w);
    await alice.page.goto('about:blank');
    hall.say('hang up');
    await hall.sees(/hung up/, 5_000, from);
    await alice.page.goto(w.gateway.url);
    await alice.says('reason', /^Your call with 200 has ended meanwhile\.$/, 15_000);
  } },
  { name: 'what the gateway says when it ends a call is put in words', async test() {
    const words = [
      [undefined, null],
      ['SIP;cause=200;text="Call completed elsewhere"', null],
      ['SIP;cause=408;text="The connection was lost"', 'The other side lost its connection.'],
      ['SIP ;cause=500 ;text="Media failed: no packet came"', 'The sound broke off.'],
      ['SIP;cause=486;text="Transfer failed: the target is busy"', 'You were put through, but the other one is busy.'],
      ['SIP;cause=503', 'All lines are taken at the moment. Try again soon.'],
      ['Q.850;cause=16', null],
    ];
    for (const [header, expected] of words) assert.equal(endReason(header), expected, header);
  } },
  { name: 'the page had no errors', async test({ alice }) {
    assert.deepEqual(alice.errors.filter(text => !/WebSocket connection/.test(text)), []);
  } },
];
