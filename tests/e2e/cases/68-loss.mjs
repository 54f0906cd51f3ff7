// A browser that speaks G.711 with a phone by the policy `auto`, over a network that begins to lose: it is moved to Opus, once.
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { Baresip } from '../lib/baresip.mjs';
import { BrowserPeer, launchChromium } from '../lib/browsers.mjs';
import { Gateway } from '../lib/gateway.mjs';
import { connect, hangUp, hearEachOther, hearWhile } from '../lib/hearing.mjs';
import { delay, until } from '../lib/process.mjs';
import { sentToDevices } from '../lib/pcap.mjs';
import { LossyRelay } from '../lib/relay.mjs';

export const waits = true;
// Three reports of the gateway's, of up to 7.5 s each, and as much again in case the first fell short of the loss.
const NOTICED_WITHIN_MS = 40_000;

export async function setUp() {
  const accounts = { alice: 101, hall: 200 };
  const gateway = await Gateway.start({ accounts, profiles: { jssip: [['prefer = "opus"', 'prefer = "auto"']] } });
  const chromium = await launchChromium();
  const alice = await BrowserPeer.start(chromium, gateway, 'jssip', 'alice');
  const hall = await Baresip.start(gateway, 'hall', { hz: 1000, seconds: 200 });
  const relay = await LossyRelay.to([gateway.webrtcPort, gateway.webrtcPort + 1]);
  await alice.relayMedia(relay.ports);
  return { gateway, chromium, alice, hall, relay };
}

export async function tearDown({ gateway, chromium, alice, hall, relay }) {
  await Promise.all([alice.stop(), hall.stop()]);
  await chromium.close();
  relay.stop();
  await gateway.stop();
}

/** How often each account's device was invited so far. */
async function invites(gateway) {
  const pcap = join(gateway.dir, 'loss.pcap');
  // Who has only just registered comes on record a moment later.
  const devices = await until('both are on record', async () => {
    await gateway.command(['ladder', '--all', '--pcap', pcap]);
    const found = await sentToDevices(pcap, gateway);
    return found.alice && found.hall && found;
  });
  return ['alice', 'hall'].map(name => devices[name].requests.filter(request => request === 'INVITE').length);
}

/** Packets are lost on the way `to` one side; `hearer`, who hears the other way, must notice nothing. */
async function moves({ gateway, alice, hall, relay }, [caller, callee, number], to, hearer, invited) {
  const [before, calls] = [await invites(gateway), (await gateway.calls()).length];
  await connect(caller, callee, number);
  const words = await hearEachOther(alice, hall);
  assert.match((await alice.sends()).codec, /^PCM[UA]$/);
  const [lost, begun] = [relay.lost, Date.now()];
  relay.losesOneOf[to] = 12;
  words.push(...await hearWhile(async () => {
    await until('the browser is moved to Opus', async () => (await alice.sends()).codec === 'opus', NOTICED_WITHIN_MS);
    words.push(`moved to Opus after ${((Date.now() - begun) / 1000).toFixed(0)} s, of which every twelfth packet to the ${to} was lost (${relay.lost - lost})`);
    await delay(1_000);
  }, [hearer], { seconds: 5, gaps: 0.01 }));
  relay.losesOneOf[to] = 0;
  await delay(1_000);
  words.push(...await hearEachOther(alice, hall));
  await hangUp(alice, hall);
  const [{ pipeline }] = await until('the call is on record', async () => {
    const all = await gateway.calls();
    return all.length > calls && all;
  });
  assert.match(pipeline, /\[opus.*<- Transcode -> .*\[PCM|\[PCM.*<- Transcode -> .*\[opus/);
  const after = await invites(gateway);
  assert.deepEqual(after.map((count, at) => count - before[at]), invited, 'the browser is asked once, the phone hears nothing of it');
  return [...words, pipeline];
}

export const cases = [
  { name: 'Chromium that calls a phone is moved to Opus when much of what it says is lost', timeoutMs: 90_000,
    test: w => moves(w, [w.alice, w.hall, 200], 'gateway', [w.alice, w.hall.hz], [1, 1]) },
  { name: 'Chromium that a phone calls is moved to Opus when much of what it hears is lost', timeoutMs: 90_000,
    test: w => moves(w, [w.hall, w.alice, 101], 'browser', [w.hall, w.alice.hz], [2, 0]) },
];
