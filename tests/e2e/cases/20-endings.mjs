// How calls end that do not end well, with a real browser and a real phone; and what they must not learn who may not call.
import assert from 'node:assert/strict';
import { Baresip } from '../lib/baresip.mjs';
import { BrowserPeer, launchChromium } from '../lib/browsers.mjs';
import { Gateway, passwordOf } from '../lib/gateway.mjs';
import { until } from '../lib/process.mjs';
import { Wire } from '../lib/sip.mjs';

const RING_SECS = 6;

export async function setUp() {
  const accounts = { alice: 101, bob: 102, away: 109, hall: 200 };
  const gateway = await Gateway.start({ accounts, change: [['ring_secs = 60', `ring_secs = ${RING_SECS}`]] });
  const chromium = await launchChromium();
  const hall = await Baresip.start(gateway, 'hall');
  const alice = await BrowserPeer.start(chromium, gateway, 'jssip', 'alice');
  return { gateway, chromium, hall, alice };
}

export async function tearDown({ gateway, chromium, hall, alice }) {
  await alice.stop();
  await hall.stop();
  await chromium.close();
  await gateway.stop();
}

async function begin(world, { from = 'alice', to = 'hall' } = {}) {
  await world.alice.forget();
  world.hall.forget();
  await world[from].dial(to === 'hall' ? 200 : 101);
  await (to === 'hall' ? world.hall.sees('CALL_INCOMING') : world.alice.sees(/^incoming/));
}

/** The status with which the gateway has put the last call on record, once there are `count`. */
async function recorded(gateway, before) {
  const calls = await until('the call is on record', async () => {
    const all = await gateway.calls();
    return all.length > before && all;
  });
  return calls[0];
}

async function ending(world, status, act) {
  const before = (await world.gateway.calls()).length;
  await act();
  const record = await recorded(world.gateway, before);
  assert.equal(record.status, status, `the call's record: ${record.ended_by}`);
}

export const cases = [
  { name: 'the browser cancels, the phone stops ringing', test: w => ending(w, 487, async () => {
    await begin(w);
    await w.alice.sees(/^ringing/);
    await w.alice.hangUp();
    await w.alice.sees(/^failed local .*Canceled/);
    await w.hall.sees('CALL_CLOSED');
  }) },
  { name: 'the phone cancels, the browser stops ringing', test: w => ending(w, 487, async () => {
    await begin(w, { from: 'hall', to: 'alice' });
    await w.hall.sees('CALL_RINGING');
    w.hall.hangUp();
    await w.alice.sees(/^failed remote .*Canceled/);
  }) },
  { name: 'the phone is busy', test: w => ending(w, 486, async () => {
    await begin(w);
    w.hall.hangUp();
    await w.alice.sees(/^failed remote 486 Busy/);
  }) },
  { name: 'the browser declines', test: w => ending(w, 603, async () => {
    await begin(w, { from: 'hall', to: 'alice' });
    await w.alice.do('decline', 603);
    const closed = await w.hall.sees('CALL_CLOSED');
    assert.match(closed.param, /^603/);
  }) },
  { name: 'nobody answers', test: w => ending(w, 480, async () => {
    await begin(w);
    await w.alice.sees(/^failed remote 480/, (RING_SECS + 4) * 1000);
    await w.hall.sees('CALL_CLOSED');
  }) },
  { name: 'nobody has the number', async test({ alice }) {
    await alice.forget();
    await alice.dial(999);
    await alice.sees(/^failed remote 404/);
  } },
  { name: 'the one who is dialled is not there', async test({ alice }) {
    await alice.forget();
    await alice.dial(109);
    await alice.sees(/^failed remote 480/);
  } },
  { name: 'keys pressed in the browser reach the phone', async test(world) {
    await begin(world);
    world.hall.answer();
    await world.alice.sees(/^confirmed/);
    await world.alice.press('159#', 'RFC2833');
    await until('baresip has seen four keys', () => world.hall.keys().length >= 4, 5_000).catch(() => {});
    await world.alice.hangUp();
    await world.hall.sees('CALL_CLOSED');
    assert.equal(world.hall.keys(), '159#');
  } },
  { name: 'the WebSocket is gone in mid-call: the phone gets its BYE within 10 s', async test(world) {
    const bob = await BrowserPeer.start(world.chromium, world.gateway, 'jssip', 'bob');
    world.hall.forget();
    await bob.dial(200);
    await world.hall.sees('CALL_INCOMING');
    world.hall.answer();
    await bob.sees(/^confirmed/);
    const gone = Date.now();
    await bob.page.close();
    await world.hall.sees('CALL_CLOSED', 10_000);
    return `BYE after ${((Date.now() - gone) / 1000).toFixed(1)} s`;
  } },
  { name: 'a wrong password is refused in the browser', async test({ chromium, gateway }) {
    const stranger = await BrowserPeer.start(chromium, gateway, 'jssip', 'bob', { password: 'guessed-wrong', registered: false });
    await stranger.sees(/^refused 401/);
    await stranger.stop();
  } },
  { name: 'an unknown user is answered with the same bytes as a wrong password', async test({ gateway }) {
    const answers = [];
    for (const name of ['alice', 'nobod']) {
      const wire = await Wire.open(gateway);
      const challenge = await wire.register(name, 1);
      const refusal = await wire.register(name, 2, { authorization: wire.answer(challenge, name, 'guessed-wrong') });
      assert.match(refusal, /^SIP\/2.0 401 /);
      const same = text => text.replaceAll(String(wire.port), 'PORT').replaceAll(name, 'NAME').replace(/nonce="[^"]*"/g, 'nonce').replace(/(To: .*;tag=)\S+/g, '$1TAG');
      answers.push([challenge, refusal].map(same));
      assert.equal(challenge.length, refusal.length, 'nonces and tags are of one length');
      wire.close();
    }
    assert.deepEqual(answers[0], answers[1]);
    const wire = await Wire.open(gateway);
    const authorization = wire.answer(await wire.register('bob', 1), 'bob', passwordOf('bob'));
    assert.match(await wire.register('bob', 2, { authorization }), /^SIP\/2.0 200 /);
    assert.match(await wire.register('bob', 3, { authorization }), /^SIP\/2.0 401 /, 'the same proof does not count twice');
    wire.close();
  } },
  { name: 'a second gateway runs beside the first', async test(world) {
    const second = await Gateway.start({ accounts: { hall: 200 } });
    const phone = await Baresip.start(second, 'hall');
    try {
      await begin(world);
      world.hall.answer();
      phone.dial(601);
      await Promise.all([phone.sees('CALL_ESTABLISHED'), world.alice.sees(/^confirmed/)]);
      phone.hangUp();
      await world.alice.hangUp();
      await Promise.all([phone.sees('CALL_CLOSED'), world.hall.sees('CALL_CLOSED')]);
      await until('its one call is on record', async () => (await second.calls()).length === 1);
    } finally {
      await phone.stop();
      await second.stop();
    }
  } },
];
