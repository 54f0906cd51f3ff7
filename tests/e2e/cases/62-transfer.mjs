// Transfer, blind and attended, by browsers and phones: the two that are left talk to each other, and the one who asked is told.
import assert from 'node:assert/strict';
import { Baresip } from '../lib/baresip.mjs';
import { BrowserPeer, launchChromium, launchFirefox } from '../lib/browsers.mjs';
import { Gateway } from '../lib/gateway.mjs';
import { connect, hangUp, hearEachOther, hearsOther } from '../lib/hearing.mjs';
import { hangsUp, invite, isHungUpOn, pause, recv, request, response, within } from '../lib/scenario.mjs';
import { caller } from '../lib/sipp.mjs';

// 9 and more is for hall alone.
const DIALPLAN = `
[[rule]]
name = "not for everyone"
dial = "9."
from = "account"
to = "refuse:403"

[[rule]]
name = "accounts"
account = true
to = "account"
`;

export async function setUp() {
  const accounts = { alice: 101, sally: 102, fox: 103, hall: 200, desk: 201, clerk: 300 };
  const gateway = await Gateway.start({ accounts, dialplan: DIALPLAN });
  const [chromium, firefox] = await Promise.all([launchChromium(), launchFirefox()]);
  const world = { gateway, browsers: [chromium, firefox] };
  world.hall = await Baresip.start(gateway, 'hall', { hz: 1000 });
  world.desk = await Baresip.start(gateway, 'desk', { hz: 600, codec: 'PCMA' });
  world.alice = await BrowserPeer.start(chromium, gateway, 'jssip', 'alice');
  world.fox = await BrowserPeer.start(firefox, gateway, 'jssip', 'fox');
  world.peers = [world.hall, world.desk, world.alice, world.fox];
  return world;
}

export async function tearDown({ gateway, browsers, peers }) {
  await Promise.all(peers.map(peer => peer.stop()));
  await Promise.all(browsers.map(browser => browser.close()));
  await gateway.stop();
}

/** The transferor has been told, and has been hung up on or has hung up by itself. */
async function isThrough(by) {
  if (by instanceof BrowserPeer) await by.sees(/^notify 200/);
  await by.over();
}

async function blind(by, party, target, { partysNumber, targetsNumber, called = false }) {
  await Promise.all([by, party, target].map(peer => peer.forget()));
  await (called ? connect(party, by, partysNumber) : connect(by, party, partysNumber));
  await by.transfer(targetsNumber);
  await target.rings();
  await target.answer();
  await Promise.all([target.talks(), isThrough(by)]);
  const words = await hearEachOther(party, target);
  // A browser was asked for no more than a phone hears; another one hears all of it.
  if (party instanceof BrowserPeer && target instanceof BrowserPeer) {
    const { parameters } = await party.sends();
    assert.doesNotMatch(parameters, /maxplaybackrate=8000/);
    words.push(`${party.name} sends (${parameters})`);
  }
  await hangUp(target, party);
  return words;
}

/** `by` holds the one, calls the other (or is called by it), and joins them. */
async function attended(by, party, target, { partysNumber, targetsNumber, calledAt }) {
  await connect(by, party, partysNumber);
  await by.hold();
  const words = [await hearsOther(party, by.hz)];
  await (calledAt ? connect(target, by, calledAt) : connect(by, target, targetsNumber));
  words.push(...await hearEachOther(by, target));
  await by.forget();
  await by.do('join', String(targetsNumber));
  await isThrough(by);
  words.push(...await hearEachOther(party, target));
  await hangUp(party, target);
  return words;
}

/** baresip 1.0 knows no Replaces, so sipp is the phone that joins: it calls one after the other, and refers the one to the other. */
const JOINS = [
  invite({ sdp: true }), recv(100), recv(180, { optional: true }), recv(200, { target: true }), within('ACK', 2),
  invite({ sdp: true, dialog: 'second', number: 101 }), recv(100), recv(180, { optional: true }), recv(200, { target: true, dialog: 'second' }), within('ACK', 2, { dialog: 'second' }),
  pause(500),
  within('REFER', 3, { headers: ['Refer-To: <sip:101@[field2]?Replaces=second///[call_id]%3Bto-tag%3D[$secondtag]%3Bfrom-tag%3D[call_number]c[pid]>'] }),
  recv(202), request('NOTIFY'), response('200 OK', { tag: '' }), isHungUpOn(), hangsUp(4),
];

async function joinedBySipp({ gateway, hall, alice }) {
  await Promise.all([hall.forget(), alice.forget()]);
  // Its Call-ID stands in a URI: without an @.
  const sipp = await caller(gateway, 'clerk', JOINS, { number: 200, args: ['-cid_str', '%u-%p-sipp'] });
  try {
    for (const peer of [hall, alice]) {
      await peer.rings();
      await peer.answer();
      await peer.talks();
    }
    await sipp.done();
    const words = await hearEachOther(hall, alice);
    await hangUp(hall, alice);
    return words;
  } finally {
    await sipp.stop();
  }
}

export const cases = [
  { name: 'JsSIP sends a phone to a phone', test: w => blind(w.alice, w.hall, w.desk, { partysNumber: 200, targetsNumber: 201 }) },
  { name: 'JsSIP sends a browser to a phone', test: w => blind(w.alice, w.fox, w.desk, { partysNumber: 103, targetsNumber: 201 }) },
  { name: 'JsSIP, which was called, sends a phone to a browser', test: w => blind(w.alice, w.hall, w.fox, { partysNumber: 101, targetsNumber: 103, called: true }) },
  { name: 'baresip sends a browser to a browser', test: w => blind(w.hall, w.alice, w.fox, { partysNumber: 101, targetsNumber: 103 }) },
  { name: 'baresip sends a browser that called it to a browser', test: w => blind(w.hall, w.fox, w.alice, { partysNumber: 200, targetsNumber: 101, called: true }) },
  { name: 'baresip sends a browser to a phone', test: w => blind(w.hall, w.alice, w.desk, { partysNumber: 101, targetsNumber: 201 }) },
  { name: 'baresip sends a phone to a browser', test: w => blind(w.hall, w.desk, w.fox, { partysNumber: 201, targetsNumber: 103 }) },
  { name: 'JsSIP joins two phones', test: w => attended(w.alice, w.hall, w.desk, { partysNumber: 200, targetsNumber: 201 }) },
  { name: 'JsSIP joins a browser and a phone', test: w => attended(w.alice, w.fox, w.hall, { partysNumber: 103, targetsNumber: 200 }) },
  { name: 'Firefox joins a phone and a browser', test: w => attended(w.fox, w.hall, w.alice, { partysNumber: 200, targetsNumber: 101 }) },
  { name: 'JsSIP joins a phone and one who called it', test: w => attended(w.alice, w.hall, w.desk, { partysNumber: 200, targetsNumber: 201, calledAt: 101 }) },
  { name: 'a phone joins a phone and a browser', test: joinedBySipp },
  { name: 'a number that is forbidden is refused, and the two go on talking', async test({ alice, hall }) {
    await connect(alice, hall, 200);
    await alice.transfer(911);
    await alice.sees(/^refer refused 403/);
    const words = await hearEachOther(alice, hall);
    await hangUp(alice, hall);
    return words;
  } },
];
