// How browsers get their keys: DTLS 1.3 and 1.2, whatever they offer first, from addresses that no SDP names.
import assert from 'node:assert/strict';
import { BrowserPeer, launchChromium, launchFirefox } from '../lib/browsers.mjs';
import { Gateway } from '../lib/gateway.mjs';
import { delay } from '../lib/process.mjs';
import { assertTone } from '../lib/tone.mjs';

const DTLS_1_3 = 'FEFC';
const DTLS_1_2 = 'FEFD';
// What Firefox calls DTLS 1.2 in its preferences.
const MAX_DTLS_1_2 = { 'media.peerconnection.dtls.version.max': 771 };

export async function setUp() {
  const gateway = await Gateway.start({ accounts: { alice: 101, fox: 103, old: 104 } });
  const [chromium, firefox, oldFirefox] = await Promise.all([launchChromium(), launchFirefox(), launchFirefox(MAX_DTLS_1_2)]);
  const world = { gateway, browsers: [chromium, firefox, oldFirefox] };
  world.alice = await BrowserPeer.start(chromium, gateway, 'jssip', 'alice');
  world.fox = await BrowserPeer.start(firefox, gateway, 'jssip', 'fox');
  world.old = await BrowserPeer.start(oldFirefox, gateway, 'jssip', 'old');
  return world;
}

export async function tearDown({ gateway, browsers, alice, fox, old }) {
  for (const peer of [alice, fox, old]) await peer.stop();
  await Promise.all(browsers.map(browser => browser.close()));
  await gateway.stop();
}

/** Calls the echo, hears itself, and gives what the browser says of its transport. */
async function echo(peer) {
  await peer.forget();
  await peer.dial(600);
  await peer.sees(/^confirmed/);
  await delay(3_000);
  const [recording, transport] = [await peer.recording(), await peer.transport()];
  await peer.hangUp();
  await peer.sees(/^ended/);
  return { words: assertTone(`${peer.name} at 600`, recording, peer.hz), transport };
}

const described = ({ words, transport }) => [words, JSON.stringify(transport)];

// Which of them a browser takes changes with its releases; the gateway has all three.
const CIPHERS = ['SRTP_AES128_CM_HMAC_SHA1_80', 'SRTP_AEAD_AES_128_GCM', 'SRTP_AEAD_AES_256_GCM'];

async function by(peer, tlsVersion) {
  const heard = await echo(peer);
  assert.equal(heard.transport.tlsVersion, tlsVersion);
  assert.ok(CIPHERS.includes(heard.transport.srtpCipher), heard.transport.srtpCipher);
  return described(heard);
}

export const cases = [
  { name: 'Chromium, with a hybrid ClientHello, by DTLS 1.3', test: ({ alice }) => by(alice, DTLS_1_3) },
  { name: 'Firefox, with a hybrid ClientHello, by DTLS 1.3', test: ({ fox }) => by(fox, DTLS_1_3) },
  { name: 'Firefox that knows DTLS 1.2 alone', test: ({ old }) => by(old, DTLS_1_2) },
  { name: 'a browser that names no address is found by its checks alone', async test({ alice }) {
    await alice.hideAddresses();
    return described(await echo(alice));
  } },
];
