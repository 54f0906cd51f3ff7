// Messages between two pages: at once, kept until the other is there, refused; and who is there.
import assert from 'node:assert/strict';
import { mkdir } from 'node:fs/promises';
import { launchChromium } from '../lib/browsers.mjs';
import { Gateway } from '../lib/gateway.mjs';
import { until } from '../lib/process.mjs';
import { SCREENS, Softphone } from '../lib/softphone.mjs';

const WORDS = 'Grüße aus dem 3. Stock 👋🏽\nund bis gleich!';

/** Each case goes on where the one before it has stopped. */
export const story = true;

export async function setUp() {
  await mkdir(SCREENS, { recursive: true });
  const gateway = await Gateway.start({ accounts: { alice: 101, bob: 102, carol: 103 } });
  const chromium = await launchChromium();
  const [alice, bob] = [await Softphone.start(chromium, gateway, 'alice'), await Softphone.start(chromium, gateway, 'bob')];
  return { gateway, chromium, alice, bob };
}

export async function tearDown({ gateway, chromium }) {
  await chromium.close();
  await gateway.stop();
}

async function open(phone, who) {
  await phone.at('tab-messages').click();
  if (await phone.at('chat-back').isVisible()) await phone.at('chat-back').click();
  await phone.at('chat-to').fill(who);
  await phone.at('chat-to').press('Enter');
  await phone.at('chat-with').waitFor();
}

/** Writes as a person does: Shift and Enter for a new line, Enter to send. */
async function write(phone, text) {
  const field = phone.at('chat-text');
  for (const [i, line] of text.split('\n').entries()) {
    if (i) await field.press('Shift+Enter');
    await field.pressSequentially(line);
  }
  await field.press('Enter');
}

const last = (phone, id) => phone.at(id).last().textContent();
const lastIs = (phone, id, pattern) => until(`the last ${id} is ${pattern}`, async () => pattern.test(await last(phone, id)));
const exactly = text => new RegExp(`^${text.replace(/[.?]/g, '\\$&')}`);

export const cases = [
  { name: 'a message arrives, is counted, read and answered', async test({ alice, bob }) {
    await open(alice, 'bob');
    await write(alice, WORDS);
    await lastIs(alice, 'message-state', /^Delivered$/);
    await bob.says('unread', /^1$/);
    await until('the title counts it', async () => (await bob.page.title()) === '(1) Ringway');
    await bob.at('tab-messages').click();
    await bob.picture('20-unread');
    await bob.at('conversation').click();
    await lastIs(bob, 'message', exactly(WORDS));
    await bob.at('unread').waitFor({ state: 'hidden' });
    assert.equal(await bob.page.title(), 'Ringway');
    await write(bob, 'Bis gleich');
    // It stands in the conversation that began with bob's name, though it came from his number.
    await lastIs(alice, 'message', /^Bis gleich/);
    await alice.picture('21-conversation');
  } },
  { name: 'who is not there reads it later', async test({ alice, chromium, gateway }) {
    await open(alice, 'carol');
    await write(alice, 'Call me when you are back');
    await lastIs(alice, 'message-state', /^Kept until carol is there$/);
    const carol = await Softphone.start(chromium, gateway, 'carol');
    await carol.says('unread', /^1$/);
    await carol.at('tab-messages').click();
    await carol.at('conversation').click();
    await lastIs(carol, 'message', /^Call me when you are back/);
    await carol.at('sign-out').click();
    await carol.page.close();
  } },
  { name: 'a message that cannot be delivered says why, and can be sent again', async test({ alice }) {
    await open(alice, 'nobody');
    await write(alice, 'Is anybody there?');
    await lastIs(alice, 'message-state', /^Not delivered: nobody who reads messages has this name or number Send again$/);
    await alice.at('send-again').click();
    await lastIs(alice, 'message-state', /^Not delivered: /);
    await alice.picture('22-not-delivered');
  } },
  { name: 'who is there, and who is not', async test({ alice, bob }) {
    await open(alice, 'bob');
    await alice.says('chat-presence', /^There$/);
    await bob.at('sign-out').click();
    await alice.says('chat-presence', /^Not there$/);
    await bob.signIn('bob');
    await alice.says('chat-presence', /^There$/);
  } },
  { name: 'messages outlive a reload, and the page signs in again by itself', async test({ alice }) {
    await alice.page.reload();
    await alice.says('registration', /^Registered as alice$/);
    await until('three conversations', async () => (await alice.at('conversation').count()) === 3);
    await open(alice, 'bob');
    await lastIs(alice, 'message', /^Bis gleich/);
  } },
  { name: 'the pages had no errors', async test({ alice, bob }) {
    assert.deepEqual([...alice.errors, ...bob.errors], []);
  } },
];
