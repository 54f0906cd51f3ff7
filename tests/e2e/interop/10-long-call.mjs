// Calls that last: five minutes of sound, both ways, without a gap; with each codec that a phone may bring.
import { Baresip } from '../lib/baresip.mjs';
import { BrowserPeer, launchChromium, launchFirefox } from '../lib/browsers.mjs';
import { Gateway } from '../lib/gateway.mjs';
import { delay } from '../lib/process.mjs';
import { assertTone } from '../lib/tone.mjs';

const SECONDS = Number(process.env.RINGWAY_LONG_CALL_SECS ?? 300);
/** A recorder that starts late or runs by a slower clock may miss this little: Firefox's was seen to give 297.5 s of 300. */
const LEAST = SECONDS * 0.99;

export async function setUp() {
  const gateway = await Gateway.start({ accounts: { alice: 101, fox: 103, hall: 200, desk: 201 } });
  const [chromium, firefox] = await Promise.all([launchChromium(), launchFirefox()]);
  const seconds = SECONDS + 60;
  return {
    gateway, chromium, firefox,
    hall: await Baresip.start(gateway, 'hall', { hz: 1000, seconds }),
    desk: await Baresip.start(gateway, 'desk', { hz: 600, codec: 'PCMA', seconds }),
    alice: await BrowserPeer.start(chromium, gateway, 'jssip', 'alice'),
    fox: await BrowserPeer.start(firefox, gateway, 'jssip', 'fox'),
  };
}

export async function tearDown(world) {
  for (const who of ['alice', 'fox', 'hall', 'desk']) await world[who].stop();
  await Promise.all([world.chromium.close(), world.firefox.close()]);
  await world.gateway.stop();
}

async function talk(browser, phone, number) {
  await browser.dial(number);
  await phone.sees('CALL_INCOMING');
  phone.answer();
  await browser.sees(/^confirmed/);
  await delay(SECONDS * 1000);
  const heard = await browser.recording();
  await browser.hangUp();
  await phone.sees('CALL_CLOSED');
  return [
    assertTone(`${phone.name} hears ${browser.name}`, await phone.recording(), browser.hz, { seconds: LEAST }),
    assertTone(`${browser.name} hears ${phone.name}`, heard, phone.hz, { seconds: LEAST }),
  ];
}

export const cases = [{
  name: 'two long calls at once, µ-law and A-law',
  timeoutMs: (SECONDS + 60) * 1000,
  test: async w => (await Promise.all([talk(w.alice, w.hall, 200), talk(w.fox, w.desk, 201)])).flat(),
}];
