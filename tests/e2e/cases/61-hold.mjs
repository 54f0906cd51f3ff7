// Hold and resume, by each kind of device that can: who is held hears music, and afterwards both hear each other again.
import { Baresip } from '../lib/baresip.mjs';
import { BrowserPeer, launchChromium, launchFirefox } from '../lib/browsers.mjs';
import { Gateway } from '../lib/gateway.mjs';
import { MUSIC_HZ, connect, hangUp, hear, hearEachOther } from '../lib/hearing.mjs';
import { until } from '../lib/process.mjs';

export async function setUp() {
  const accounts = { alice: 101, sally: 102, fox: 103, hall: 200, desk: 201 };
  const gateway = await Gateway.start({ accounts, music: MUSIC_HZ });
  const [chromium, firefox] = await Promise.all([launchChromium(), launchFirefox()]);
  const world = { gateway, browsers: [chromium, firefox] };
  world.hall = await Baresip.start(gateway, 'hall', { hz: 1000 });
  world.desk = await Baresip.start(gateway, 'desk', { hz: 600, codec: 'PCMA' });
  world.alice = await BrowserPeer.start(chromium, gateway, 'jssip', 'alice');
  world.sally = await BrowserPeer.start(chromium, gateway, 'sipjs', 'sally');
  world.fox = await BrowserPeer.start(firefox, gateway, 'jssip', 'fox');
  world.peers = [world.hall, world.desk, world.alice, world.sally, world.fox];
  return world;
}

export async function tearDown({ gateway, browsers, peers }) {
  await Promise.all(peers.map(peer => peer.stop()));
  await Promise.all(browsers.map(browser => browser.close()));
  await gateway.stop();
}

/** Twice in a row: a second offer after a second one finds what the first has left. */
async function holds(holder, other, number, { options, talk }) {
  await connect(holder, other, number);
  const words = await talk();
  for (let round = 0; round < 2; round++) {
    await Promise.all([holder.forget(), other.forget()]);
    await holder.hold(options);
    words.push(...await hear([[other, MUSIC_HZ]]));
    await holder.resume(options);
    words.push(...await talk());
  }
  await hangUp(holder, other);
  return words;
}

const twoTones = (holder, other, number, options) => holds(holder, other, number, { options, talk: () => hearEachOther(holder, other) });
/** baresip records nothing after its own hold (see its listen()); keys come in the same RTP stream as the sound. */
async function byPhone(phone, other, number) {
  let first = true;
  const talk = async () => {
    if (first) {
      first = false;
      return hearEachOther(phone, other);
    }
    phone.forget();
    await other.press('5', 'RFC2833');
    const words = await hear([[other, phone.hz]]);
    await until(`${phone.name} is sent the key`, () => phone.keys() === '5');
    return words;
  };
  return holds(phone, other, number, { talk });
}

export const cases = [
  { name: 'JsSIP holds a phone', test: w => twoTones(w.alice, w.hall, 200) },
  { name: 'JsSIP holds a phone by UPDATE', test: w => twoTones(w.alice, w.hall, 200, { useUpdate: true }) },
  { name: 'SIP.js holds a phone', test: w => twoTones(w.sally, w.hall, 200) },
  { name: 'Firefox with JsSIP holds a phone', test: w => twoTones(w.fox, w.hall, 200) },
  { name: 'Chromium holds Firefox', test: w => twoTones(w.alice, w.fox, 103) },
  { name: 'baresip holds Chromium', test: w => byPhone(w.desk, w.alice, 101) },
  { name: 'baresip holds Firefox', test: w => byPhone(w.desk, w.fox, 103) },
  { name: 'baresip holds baresip', test: w => byPhone(w.desk, w.hall, 200) },
];
