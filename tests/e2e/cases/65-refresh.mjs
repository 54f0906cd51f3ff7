// Session timers (RFC 4028): calls that last past their refresh, whoever's turn it is; intervals that are too short.
import assert from 'node:assert/strict';
import { Baresip } from '../lib/baresip.mjs';
import { BrowserPeer, launchChromium } from '../lib/browsers.mjs';
import { ADDRESS, Gateway, freeUdpPort } from '../lib/gateway.mjs';
import { connect, hangUp, hearEachOther } from '../lib/hearing.mjs';
import { delay, until } from '../lib/process.mjs';
import { pause, recv, request, response, stream, unproven } from '../lib/scenario.mjs';
import { at, caller } from '../lib/sipp.mjs';

export const waits = true;
// JsSIP asks for 90 s and refreshes after half of them; without a refresh the call would end at 90 s.
const LASTS_MS = 100_000;
const REFRESH_WITHIN_MS = 60_000;

const DIALPLAN = ['updates', 'invites'].map((name, n) => `
[[rule]]
name = "${name}"
dial = "0${n}"
to = "peer:${name}"
`).join('') + '\n[[rule]]\nname = "accounts"\naccount = true\nto = "account"\n';

export async function setUp() {
  const ports = { updates: await freeUdpPort(), invites: await freeUdpPort() };
  const peers = Object.entries(ports).map(([name, port]) => `[[peer]]\nname = "${name}"\naddress = "${ADDRESS}:${port}"\nprofile = "generic-pbx"\n\n`);
  const gateway = await Gateway.start({
    accounts: { alice: 101, bob: 102, hall: 200, caller: 300 },
    change: [['[profiles]', `${peers.join('')}[profiles]`]],
    dialplan: DIALPLAN,
  });
  const chromium = await launchChromium();
  const alice = await BrowserPeer.start(chromium, gateway, 'jssip', 'alice');
  const bob = await BrowserPeer.start(chromium, gateway, 'jssip', 'bob');
  const hall = await Baresip.start(gateway, 'hall', { hz: 1000, seconds: 200 });
  return { gateway, chromium, alice, bob, hall, ports };
}

export async function tearDown({ gateway, chromium, alice, bob, hall }) {
  await Promise.all([alice.stop(), bob.stop(), hall.stop()]);
  await chromium.close();
  await gateway.stop();
}

async function longCall({ gateway, alice, hall }) {
  await connect(alice, hall, 200);
  await delay(LASTS_MS);
  const words = await hearEachOther(alice, hall);
  await hangUp(alice, hall);
  const calls = await until('the call is on record', async () => {
    const all = await gateway.calls();
    return all.filter(({ from, dialled }) => from === 'alice' && dialled === '200').length && all;
  });
  const { id, ended_by } = calls.find(({ from, dialled }) => from === 'alice' && dialled === '200');
  assert.equal(ended_by, 'hung up by alice');
  const ladder = await gateway.command(['ladder', id]);
  const refreshes = ladder.match(/─ UPDATE /g)?.length ?? 0;
  assert.ok(refreshes >= 1 && ladder.includes('200 OK (UPDATE)'), `no refresh:\n${ladder}`);
  return [...words, `${refreshes} refreshes by UPDATE in ${LASTS_MS / 1000} s`];
}

/** A trunk that agrees to 90 s and leaves the refresh to us: half of them later it must get one. */
async function trunk({ gateway, bob, ports }, name, number, refresh) {
  const phone = await at(gateway, name, ports[name], [
    request('INVITE'), response('180 Ringing'),
    response('200 OK', { sdp: true, headers: ['Session-Expires: 90;refresher=uac', 'Require: timer', ...(name === 'updates' ? ['Allow: INVITE, ACK, BYE, CANCEL, UPDATE'] : ['Allow: INVITE, ACK, BYE, CANCEL'])] }),
    request('ACK'), stream(), ...refresh, request('BYE'), response('200 OK', { tag: '' }),
  ], { patienceMs: REFRESH_WITHIN_MS });
  const started = Date.now();
  try {
    await bob.forget();
    await bob.dial(number);
    await bob.talks();
    const method = name === 'updates' ? /^UPDATE /m : /^INVITE [^]*^INVITE /m;
    await until('the trunk is sent a refresh', async () => method.test(await phone.messages()), REFRESH_WITHIN_MS);
    const seconds = (Date.now() - started) / 1000;
    await delay(500);
    await bob.hangUp();
    await bob.over();
    await phone.done();
    return `refreshed after ${seconds.toFixed(0)} s`;
  } finally {
    await phone.stop();
  }
}

/** One after the other would cost minutes; each has peers of its own. */
const all = world => Promise.all([
  longCall(world),
  trunk(world, 'updates', '00', [request('UPDATE'), response('200 OK', { tag: '', headers: ['Session-Expires: 90;refresher=uac', 'Require: timer'] })])
    .then(async words => [words, await trunk(world, 'invites', '01', [
      request('INVITE'), response('200 OK', { sdp: true, tag: '', headers: ['Session-Expires: 90;refresher=uac', 'Require: timer'] }), request('ACK'),
    ])]),
]);

export const cases = [
  { name: 'an interval of 30 s is too short', async test({ gateway }) {
    const scenario = [unproven({ sdp: true, headers: ['Supported: timer', 'Session-Expires: 30'] }),
      recv(422).replace('/>', '><action><ereg regexp="90" search_in="hdr" header="Min-SE:" check_it="true" assign_to="least"/><log message="[$least]"/></action></recv>'), pause(100)];
    const phone = await caller(gateway, 'caller', scenario, { number: 200 });
    try {
      await phone.done();
    } finally {
      await phone.stop();
    }
  } },
  { name: 'JsSIP refreshes its call, and we refresh those to trunks by UPDATE and by re-INVITE', timeoutMs: LASTS_MS + 60_000, test: async w => (await all(w)).flat(2) },
];
