// The softphone page as a person uses it, with the analog telephone at the other end. Pictures are left in target/screens/.
import assert from 'node:assert/strict';
import { mkdir } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { launchChromium } from '../lib/browsers.mjs';
import { ANALOG_PHONE, DOMAIN, Gateway, passwordOf } from '../lib/gateway.mjs';
import { Child, until } from '../lib/process.mjs';

const SCREENS = fileURLToPath(new URL('../../../target/screens/', import.meta.url));
const SIZES = { wide: { width: 1280, height: 800 }, narrow: { width: 390, height: 844 } };

export async function setUp() {
  await mkdir(SCREENS, { recursive: true });
  const gateway = await Gateway.start({ accounts: { alice: 101, bob: 102, hall: 200 } });
  const chromium = await launchChromium();
  const hall = new Child('analog phone', ANALOG_PHONE, ['--gateway', gateway.sip, '--user', 'hall', '--password', passwordOf('hall'), '--domain', DOMAIN]);
  await hall.sees(/registered as hall/);
  const page = await chromium.newPage();
  const errors = [];
  page.on('pageerror', error => errors.push(String(error)));
  page.on('console', message => message.type() === 'error' && errors.push(message.text()));
  await page.goto(gateway.url);
  return { gateway, chromium, hall, page, errors, at: id => page.getByTestId(id) };
}

export async function tearDown({ gateway, chromium, hall }) {
  await chromium.close();
  await hall.stop();
  await gateway.stop();
}

/** A picture of the page as it is, in each size and colour scheme. */
async function picture(page, name) {
  for (const [size, viewport] of Object.entries(SIZES)) {
    for (const colorScheme of ['light', 'dark']) {
      await page.setViewportSize(viewport);
      await page.emulateMedia({ colorScheme });
      // Colours fade from one scheme to the other.
      await page.waitForTimeout(250);
      await page.screenshot({ path: `${SCREENS}${name}-${size}-${colorScheme}.png` });
      const wider = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
      assert.ok(wider <= 0, `${name} is ${wider} px wider than a ${size} screen`);
    }
  }
  await page.setViewportSize(SIZES.wide);
}

async function signIn({ at }, name, password) {
  await at('name').fill(name);
  await at('password').fill(password);
  await at('sign-in').click();
}

const text = async (at, id) => (await at(id).textContent()).trim();
const says = (at, id, pattern, timeoutMs) => until(`${id} says ${pattern}`, async () => pattern.test(await text(at, id)), timeoutMs);
const level = async (at, id) => Number(await at(id).getAttribute('aria-valuenow'));

export const cases = [
  { name: 'a wrong password is told in words', async test(w) {
    await picture(w.page, '1-sign-in');
    await signIn(w, 'alice', 'guessed-wrong');
    await says(w.at, 'sign-in-error', /Name or password is wrong/);
    await picture(w.page, '2-refused');
  } },
  { name: 'signing in', async test(w) {
    await signIn(w, 'alice', passwordOf('alice'));
    await says(w.at, 'registration', /Registered as alice/);
    await w.at('view-dial').waitFor();
    await picture(w.page, '3-dial');
  } },
  { name: 'dialling 200: speech is heard, mute, keys, timer, hanging up', async test({ at, page, hall }) {
    const from = hall.text.length;
    for (const key of '200') await at(`pad-dial-${key}`).click();
    await at('call').click();
    await says(at, 'call-state', /Ringing/);
    await picture(page, '4-ringing');
    await hall.sees(/ringing: /, 5_000, from);
    await hall.sees(/answered/, 5_000, from);
    await says(at, 'timer', /^0:0\d$/);
    await until('the remote meter shows speech', async () => (await level(at, 'meter-remote')) > 40);
    await until('the local meter shows the microphone', async () => (await level(at, 'meter-local')) > 20);
    await hall.sees(/heard (\d+ Hz|sound)/, 5_000, from);
    await picture(page, '5-talking');
    const muted = hall.text.length;
    await at('mute').click();
    assert.equal(await at('mute').getAttribute('aria-pressed'), 'true');
    await hall.sees(/heard silence/, 6_000, muted);
    await at('keypad').click();
    for (const key of '52#') await at(`pad-dtmf-${key}`).click();
    await says(at, 'digits', /^52#$/);
    await hall.sees(/key 5[^]*key 2[^]*key #/, 6_000, muted);
    await picture(page, '6-keypad-muted');
    await says(at, 'timer', /^0:(0[3-9]|[1-5]\d)$/);
    await at('hang-up').click();
    await hall.sees(/has hung up/, 5_000, muted);
    await at('view-dial').waitFor();
    assert.equal(await text(at, 'reason'), '', 'who hangs up needs no reason');
  } },
  { name: 'the analog telephone rings the page, which answers; the phone hangs up', async test({ at, page, hall }) {
    const from = hall.text.length;
    hall.say('dial 101');
    await says(at, 'incoming-who', /hall|200/);
    await picture(page, '7-incoming');
    await at('answer').click();
    await hall.sees(/answered/, 5_000, from);
    await until('the remote meter shows speech', async () => (await level(at, 'meter-remote')) > 40);
    hall.say('hang up');
    await at('view-dial').waitFor();
  } },
  { name: 'declining', async test({ at, hall }) {
    const from = hall.text.length;
    hall.say('dial 101');
    await at('decline').click();
    await hall.sees(/101 cannot be reached: 486/, 5_000, from);
  } },
  { name: 'a call that fails says why', async test({ at, page }) {
    for (const [number, words] of [['999', /999: Nobody has this number/], ['102', /102: Not reachable right now/]]) {
      await at('number').fill(number);
      await at('call').click();
      await says(at, 'reason', words);
    }
    await picture(page, '8-failed');
  } },
  { name: 'the page had no errors, and called nobody but its gateway', async test({ errors }) {
    assert.deepEqual(errors, []);
  } },
];
