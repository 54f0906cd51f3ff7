// One account, three devices: two browsers and a phone ring together, the first to answer has the call, the others stop.
import { Baresip } from '../lib/baresip.mjs';
import { BrowserPeer, launchChromium, launchFirefox } from '../lib/browsers.mjs';
import { Gateway } from '../lib/gateway.mjs';
import { hangUp, hearEachOther } from '../lib/hearing.mjs';

export async function setUp() {
  const gateway = await Gateway.start({ accounts: { alice: 101, hall: 200 } });
  const [chromium, firefox] = await Promise.all([launchChromium(), launchFirefox()]);
  const world = { gateway, browsers: [chromium, firefox] };
  world.caller = await Baresip.start(gateway, 'hall', { hz: 1000 });
  world.phone = await Baresip.start(gateway, 'alice', { hz: 600 });
  world.alice = await BrowserPeer.start(chromium, gateway, 'jssip', 'alice');
  world.fox = await BrowserPeer.start(firefox, gateway, 'jssip', 'alice');
  return world;
}

export async function tearDown({ gateway, browsers, caller, phone, alice, fox }) {
  await Promise.all([caller, phone, alice, fox].map(peer => peer.stop()));
  await Promise.all(browsers.map(browser => browser.close()));
  await gateway.stop();
}

/** How a device learns that another one has the call: a browser is told why. */
const stops = device => (device instanceof Baresip ? device.over() : device.sees(/^failed remote .*Canceled .*cause=200.*Call completed elsewhere/));

async function answeredBy(winner, { caller, phone, alice, fox }) {
  const devices = [phone, alice, fox];
  await Promise.all([caller, ...devices].map(peer => peer.forget()));
  await caller.dial(101);
  await Promise.all(devices.map(device => device.rings()));
  await winner.answer();
  await Promise.all([caller.talks(), winner.talks(), ...devices.filter(device => device !== winner).map(stops)]);
  const words = await hearEachOther(caller, winner);
  await hangUp(caller, winner);
  return words;
}

export const cases = [
  { name: 'Chromium answers', test: w => answeredBy(w.alice, w) },
  { name: 'Firefox answers', test: w => answeredBy(w.fox, w) },
  { name: 'the phone answers', test: w => answeredBy(w.phone, w) },
];
