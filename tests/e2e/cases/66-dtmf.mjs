// Keys, from each kind of device in each way that it has, to each in the way that it understands: each key once, in order.
import assert from 'node:assert/strict';
import { Baresip } from '../lib/baresip.mjs';
import { BrowserPeer, launchChromium } from '../lib/browsers.mjs';
import { Gateway } from '../lib/gateway.mjs';
import { connect, hangUp } from '../lib/hearing.mjs';
import { delay, until } from '../lib/process.mjs';
import { hangsUp, invite, isHungUpOn, pause, play, recv, request, response, within } from '../lib/scenario.mjs';
import { callee, caller } from '../lib/sipp.mjs';
import { keysIn } from '../lib/tone.mjs';

const KEYS = '159#';
/** What Debian's sipp brings along. */
const PCAPS = '/usr/share/sip-tester';

export async function setUp() {
  const accounts = { alice: 101, bob: 102, sally: 103, hall: 200, desk: 201, caller: 300, quiet: 400, deaf: 401 };
  const gateway = await Gateway.start({ accounts });
  // Phones whose keys are tones in the sound.
  const tones = await Gateway.start({ accounts: { alice: 101, hall: 200, desk: 201 }, profiles: { 'generic-phone': [['dtmf = "rfc4733"', 'dtmf = "tones"']] } });
  const chromium = await launchChromium();
  const world = { gateway, tones, chromium };
  world.alice = await BrowserPeer.start(chromium, gateway, 'jssip', 'alice');
  world.bob = await BrowserPeer.start(chromium, gateway, 'jssip', 'bob');
  world.sally = await BrowserPeer.start(chromium, gateway, 'sipjs', 'sally');
  world.hall = await Baresip.start(gateway, 'hall', { hz: 1000 });
  world.anna = await BrowserPeer.start(chromium, tones, 'jssip', 'alice');
  world.toneHall = await Baresip.start(tones, 'hall', { hz: 0, keys: KEYS });
  world.peers = [world.alice, world.bob, world.sally, world.hall, world.anna, world.toneHall];
  return world;
}

export async function tearDown({ gateway, tones, chromium, peers }) {
  await Promise.all(peers.map(peer => peer.stop()));
  await chromium.close();
  await Promise.all([gateway.stop(), tones.stop()]);
}

async function got(who, keys = KEYS) {
  await until(`${who.name} is told of ${keys.length} keys`, async () => (await who.keys()).length >= keys.length, 5_000).catch(() => {});
  // One more than there should be would come at once.
  await delay(300);
  assert.equal(await who.keys(), keys);
}

async function pressed(from, to, number, way) {
  await connect(from, to, number);
  await from.press(KEYS, way);
  await got(to);
  await hangUp(from, to);
}

async function bySipp({ gateway, hall, alice }, to, number, steps) {
  await to.forget();
  const phone = await caller(gateway, 'caller', [invite({ sdp: true }), recv(100), recv(180, { optional: true }), recv(200, { target: true }), within('ACK', 2), pause(500), ...steps, pause(1_500), hangsUp(9)], { number });
  try {
    await to.rings();
    await to.answer();
    await to.talks();
    await got(to);
    await phone.done();
    await to.over();
  } finally {
    await phone.stop();
  }
}

const INFO = [...KEYS].flatMap((key, n) => [within('INFO', 3 + n, { content: { type: 'application/dtmf', lines: [key] } }), recv(200), pause(100)]);
const NAMES = { '#': 'pound', '*': 'star' };
const EVENTS = [...KEYS].flatMap(key => [play(`${PCAPS}/dtmf_2833_${NAMES[key] ?? key}.pcap`), pause(700)]);
/** sipp sends what it plays by a raw socket. */
const root = () => (process.getuid() === 0 ? undefined : 'root, as sipp plays captures by a raw socket');

export const cases = [
  { name: 'JsSIP by INFO to baresip', test: w => pressed(w.alice, w.hall, 200, 'INFO') },
  { name: 'JsSIP by RFC 4733 to baresip', test: w => pressed(w.alice, w.hall, 200, 'RFC2833') },
  { name: 'JsSIP, which was called, by RFC 4733 to baresip', async test({ alice, hall }) {
    await connect(hall, alice, 101);
    await alice.press(KEYS, 'RFC2833');
    await got(hall);
    await hangUp(hall, alice);
  } },
  { name: 'SIP.js by INFO to baresip', test: w => pressed(w.sally, w.hall, 200, 'INFO') },
  { name: 'SIP.js by RFC 4733 to baresip', test: w => pressed(w.sally, w.hall, 200, 'RFC2833') },
  { name: 'JsSIP by INFO to SIP.js', test: w => pressed(w.alice, w.sally, 103, 'INFO') },
  { name: 'JsSIP by RFC 4733 to JsSIP', test: w => pressed(w.alice, w.bob, 102, 'RFC2833') },
  { name: 'SIP.js by INFO to JsSIP', test: w => pressed(w.sally, w.alice, 101, 'INFO') },
  { name: 'baresip by RFC 4733 to JsSIP', test: w => pressed(w.hall, w.alice, 101) },
  { name: 'baresip by RFC 4733 to SIP.js', test: w => pressed(w.hall, w.sally, 103) },
  { name: 'baresip by tones in its sound to JsSIP', async test({ anna, toneHall }) {
    // Its sound is the keys, from the answer on.
    await connect(anna, toneHall, 200);
    await got(anna);
    await hangUp(anna, toneHall);
  } },
  { name: 'JsSIP by INFO to a phone that wants tones', async test({ anna, toneHall }) {
    await connect(anna, toneHall, 200);
    await toneHall.listen();
    await anna.press(KEYS, 'INFO');
    await delay(2_500);
    assert.equal(keysIn(await toneHall.heard()), KEYS);
    await hangUp(anna, toneHall);
  } },
  { name: 'JsSIP by INFO to a phone without telephone events, which plays back what it hears', async test({ gateway, alice }) {
    const phone = await callee(gateway, 'quiet', [
      request('INVITE'), response('200 OK', { sdp: { events: false, echo: true } }), request('ACK'), isHungUpOn(),
    ], { args: ['-rtp_echo'] });
    try {
      await alice.forget();
      await alice.dial(400);
      await alice.talks();
      await alice.press(KEYS, 'INFO');
      // Its tones come back as tones, and are keys again on the way to the browser.
      await got(alice);
      await alice.hangUp();
      await alice.over();
      await phone.done();
    } finally {
      await phone.stop();
    }
  } },
  { name: 'sipp by INFO to JsSIP', test: w => bySipp(w, w.alice, 101, INFO) },
  { name: 'sipp by INFO to baresip', test: w => bySipp(w, w.hall, 200, INFO) },
  { name: 'sipp by RFC 4733 to JsSIP', needs: root, test: w => bySipp(w, w.alice, 101, EVENTS) },
  { name: 'sipp by RFC 4733 to baresip', needs: root, test: w => bySipp(w, w.hall, 200, EVENTS) },
];
