// A browser is cut off in mid-call and comes back: by another WebSocket, or as another page. The sound goes on, and what the
// phone does reaches it there.
import { Baresip } from '../lib/baresip.mjs';
import { BrowserPeer, launchChromium, launchFirefox } from '../lib/browsers.mjs';
import { Gateway } from '../lib/gateway.mjs';
import { MUSIC_HZ, connect, hear, hearEachOther, hearWhile } from '../lib/hearing.mjs';
import { delay } from '../lib/process.mjs';
import { Relay } from '../lib/relay.mjs';

const INSTANCE = n => `3b0ce2a4-7a5e-4c11-9d43-00000000000${n}`;

export async function setUp() {
  const gateway = await Gateway.start({ accounts: { alice: 101, fox: 103, hall: 200 }, music: MUSIC_HZ });
  const [chromium, firefox] = await Promise.all([launchChromium(), launchFirefox()]);
  const relay = await Relay.to(gateway.webPort);
  const world = { gateway, browsers: [chromium, firefox], relay };
  world.alice = await BrowserPeer.start(chromium, gateway, 'jssip', 'alice', { instance: INSTANCE(1), port: relay.port });
  world.fox = await BrowserPeer.start(firefox, gateway, 'jssip', 'fox', { instance: INSTANCE(2) });
  return world;
}

export async function tearDown({ gateway, browsers, relay, alice, fox }) {
  await Promise.all([alice, fox].map(peer => peer.stop()));
  await Promise.all(browsers.map(browser => browser.close()));
  relay.stop();
  await gateway.stop();
}

/** Each case has a phone of its own: baresip records nothing after its hold. */
async function withPhone({ gateway }, test) {
  const hall = await Baresip.start(gateway, 'hall', { hz: 1000 });
  try {
    return await test(hall);
  } finally {
    await hall.stop();
  }
}

/** Nothing of the sound is missing while `act` lasts; the browser says itself how much it had to make up. */
async function unbroken(browser, phone, act) {
  const before = await browser.page.evaluate(() => window.peer.madeUpMs());
  const words = await hearWhile(act, [[browser, phone.hz], [phone, browser.hz]], { seconds: 2 });
  const ms = await browser.page.evaluate(() => window.peer.madeUpMs()) - before;
  if (ms >= 100) throw Object.assign(new Error(`${browser.name}'s browser had to make up ${ms.toFixed(0)} ms of sound`), { missingMs: ms });
  return [...words, `${browser.name}'s browser had to make up ${ms.toFixed(0)} ms`];
}

/** The phone holds, and hangs up: the browser learns of the end by its new flow. */
async function end(browser, hall) {
  await hall.hold();
  const words = await hear([[browser, MUSIC_HZ]]);
  hall.hangUp();
  await browser.sees(/^ended remote/);
  return words;
}

const cut = (browser, act) => async world => withPhone(world, async hall => {
  const peer = world[browser];
  await connect(peer, hall, 200);
  await hearEachOther(peer, hall);
  await peer.forget();
  const words = await unbroken(peer, hall, async () => {
    await act(peer, world);
    await peer.sees(/^disconnected/);
    await peer.sees(/^registered/);
    await delay(1_500);
  });
  words.push(...await hearEachOther(peer, hall), ...await end(peer, hall));
  return words;
});

const reloaded = browser => async world => withPhone(world, async hall => {
  const peer = world[browser];
  await connect(peer, hall, 200);
  const words = await hearEachOther(peer, hall);
  const replaces = await peer.page.evaluate(() => window.peer.replaces());
  await peer.load();
  await peer.sees(/^registered/);
  await peer.dial(200, [`Replaces: ${replaces}`]);
  await peer.talks();
  words.push(...await hearEachOther(peer, hall), ...await end(peer, hall));
  return words;
});

export const cases = [
  { name: 'Chromium loses its WebSocket', test: cut('alice', peer => peer.do('cutWebSocket')) },
  { name: 'Firefox loses its WebSocket', test: cut('fox', peer => peer.do('cutWebSocket')) },
  { name: 'the network falls silent, and the browser is back before the gateway knows', test: cut('alice', async (peer, { relay }) => {
    relay.fallSilent();
    await delay(500);
    await peer.do('giveUpWebSocket');
    await peer.sees(/^registered/);
    relay.resetFarSide();
  }) },
  { name: 'the gateway knows that the WebSocket is gone before the browser does', test: cut('alice', async (peer, { relay }) => {
    relay.fallSilent();
    relay.resetFarSide();
    await delay(1_000);
    await peer.do('giveUpWebSocket');
  }) },
  { name: 'the page is loaded again in Chromium', test: reloaded('alice') },
  { name: 'the page is loaded again in Firefox', test: reloaded('fox') },
];
