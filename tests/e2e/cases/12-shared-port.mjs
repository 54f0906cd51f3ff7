// Phones that send from where their SDP says are heard on one port, all of them: each by its own address, and nobody by another's.
import assert from 'node:assert/strict';
import { Baresip } from '../lib/baresip.mjs';
import { BrowserPeer, launchChromium } from '../lib/browsers.mjs';
import { Gateway } from '../lib/gateway.mjs';
import { delay, until } from '../lib/process.mjs';
import { assertTone } from '../lib/tone.mjs';

const TALK_MS = 3_500;

export async function setUp() {
  const gateway = await Gateway.start({
    accounts: { alice: 101, hall: 200, desk: 201, den: 202 },
    // Each worker has a port for all of its own.
    change: [['workers = 2', 'workers = 1']],
    profiles: { 'generic-phone': [['behind_nat = true', 'behind_nat = false']] },
  });
  const chromium = await launchChromium();
  const [hall, desk, den] = [
    await Baresip.start(gateway, 'hall', { hz: 1000 }),
    await Baresip.start(gateway, 'desk', { hz: 600, codec: 'PCMA' }),
    await Baresip.start(gateway, 'den', { hz: 1400, codec: 'PCMA' }),
  ];
  const alice = await BrowserPeer.start(chromium, gateway, 'jssip', 'alice');
  return { gateway, chromium, hall, desk, den, alice };
}

export async function tearDown({ gateway, chromium, hall, desk, den, alice }) {
  for (const who of [hall, desk, den, alice]) await who.stop();
  await chromium.close();
  await gateway.stop();
}

/** The ports that descriptions of plain RTP name in a call. */
async function ports(gateway, { id }) {
  const ladder = await gateway.command(['ladder', id, '--full']);
  return new Set([...ladder.matchAll(/m=audio (\d+) RTP\/AVP /g)].map(([, port]) => port));
}

async function callsAtOnce({ gateway, alice, hall, desk, den }) {
  await alice.dial(200);
  await hall.rings();
  await hall.answer();
  await Promise.all([alice.talks(), hall.talks()]);
  desk.dial(202);
  await den.rings();
  den.answer();
  await Promise.all([desk.talks(), den.talks()]);
  await delay(TALK_MS);
  const atAlice = await alice.recording();
  await alice.hangUp();
  desk.hangUp();
  await Promise.all([alice, hall, desk, den].map(who => who.over()));
  const records = await until('both calls are on record', async () => {
    const all = await gateway.calls();
    return all.length === 2 && all;
  });
  const [one, other] = await Promise.all(records.map(record => ports(gateway, record)));
  const shared = [...one].filter(port => other.has(port));
  assert.equal(shared.length, 1, `${[...one]} and ${[...other]}`);
  return [
    assertTone('alice hears hall', atAlice, hall.hz),
    assertTone('hall hears alice', await hall.recording(), alice.hz),
    assertTone('desk hears den', await desk.recording(), den.hz),
    assertTone('den hears desk', await den.recording(), desk.hz),
    `port ${shared[0]}`,
  ];
}

export const cases = [
  { name: 'Chromium and three baresips in two calls on one RTP port', test: callsAtOnce },
];
