// The softphone page as a person uses it, with the analog telephone at the other end. Pictures are left in target/screens/.
import assert from 'node:assert/strict';
import { mkdir } from 'node:fs/promises';
import { launchChromium } from '../lib/browsers.mjs';
import { ANALOG_PHONE, DOMAIN, Gateway, passwordOf } from '../lib/gateway.mjs';
import { Child, until } from '../lib/process.mjs';
import { SCREENS, Softphone } from '../lib/softphone.mjs';

/** Each case goes on where the one before it has stopped. */
export const story = true;

export async function setUp() {
  await mkdir(SCREENS, { recursive: true });
  const gateway = await Gateway.start({ accounts: { alice: 101, bob: 102, hall: 200 } });
  const chromium = await launchChromium();
  const hall = new Child('analog phone', ANALOG_PHONE, ['--gateway', gateway.sip, '--user', 'hall', '--password', passwordOf('hall'), '--domain', DOMAIN]);
  await hall.sees(/registered as hall/);
  return { gateway, chromium, hall, alice: await Softphone.open(chromium, gateway) };
}

export async function tearDown({ gateway, chromium, hall }) {
  await chromium.close();
  await hall.stop();
  await gateway.stop();
}

export const cases = [
  { name: 'a wrong password is told in words', async test({ alice }) {
    await alice.picture('1-sign-in');
    await alice.signIn('alice', 'guessed-wrong');
    await alice.says('sign-in-error', /Name or password is wrong/);
    await alice.picture('2-refused');
  } },
  { name: 'signing in', async test({ alice }) {
    await alice.signIn('alice');
    await alice.says('registration', /Registered as alice/);
    await alice.idle();
    await alice.picture('3-dial');
  } },
  { name: 'dialling 200: speech is heard, mute, keys, timer, hanging up', async test({ alice, hall }) {
    const from = hall.text.length;
    for (const key of '200') await alice.at(`pad-dial-${key}`).click();
    await alice.at('call').click();
    await alice.says('call-state', /Ringing/);
    await alice.picture('4-ringing');
    await hall.sees(/ringing: /, 5_000, from);
    await hall.sees(/answered/, 5_000, from);
    await alice.says('timer', /^0:0\d$/);
    await alice.hearsSpeech();
    await until('the local meter shows the microphone', async () => (await alice.level('meter-local')) > 20);
    await hall.sees(/heard (\d+ Hz|sound)/, 5_000, from);
    await alice.picture('5-talking');
    const muted = hall.text.length;
    await alice.at('mute').click();
    assert.equal(await alice.at('mute').getAttribute('aria-pressed'), 'true');
    await hall.sees(/heard silence/, 6_000, muted);
    await alice.at('keypad').click();
    for (const key of '52#') await alice.at(`pad-dtmf-${key}`).click();
    await alice.says('digits', /^52#$/);
    await hall.sees(/key 5[^]*key 2[^]*key #/, 6_000, muted);
    await alice.picture('6-keypad-muted');
    await alice.says('timer', /^0:(0[3-9]|[1-5]\d)$/);
    await alice.at('hang-up').click();
    await hall.sees(/has hung up/, 5_000, muted);
    await alice.idle();
    assert.equal(await alice.text('reason'), '', 'who hangs up needs no reason');
  } },
  { name: 'the analog telephone rings the page, which answers; the phone hangs up', async test({ alice, hall }) {
    const from = hall.text.length;
    hall.say('dial 101');
    await alice.says('incoming-who', /hall|200/);
    await alice.picture('7-incoming');
    await alice.at('answer').click();
    await hall.sees(/answered/, 5_000, from);
    await alice.hearsSpeech();
    hall.say('hang up');
    await alice.idle();
  } },
  { name: 'declining', async test({ alice, hall }) {
    const from = hall.text.length;
    hall.say('dial 101');
    await alice.at('decline').click();
    await hall.sees(/101 cannot be reached: 486/, 5_000, from);
  } },
  { name: 'a call that fails says why', async test({ alice }) {
    for (const [number, words] of [['999', /999: Nobody has this number/], ['102', /102: Not reachable right now/]]) {
      await alice.dial(number);
      await alice.says('reason', words);
    }
    await alice.picture('8-failed');
  } },
  { name: 'the page had no errors, and called nobody but its gateway', async test({ alice }) {
    assert.deepEqual(alice.errors, []);
  } },
];
