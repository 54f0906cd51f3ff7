// A phone that dies in mid-call: the call ends with its reason in words; a call on hold is not ended by silence.
import assert from 'node:assert/strict';
import { Baresip } from '../lib/baresip.mjs';
import { BrowserPeer, launchChromium } from '../lib/browsers.mjs';
import { Gateway } from '../lib/gateway.mjs';
import { MUSIC_HZ, connect, hear, hearEachOther } from '../lib/hearing.mjs';
import { delay, until } from '../lib/process.mjs';

const TIMEOUT_SECS = 3;

export async function setUp() {
  const gateway = await Gateway.start({
    accounts: { alice: 101, bob: 102, hall: 200, desk: 201 }, music: MUSIC_HZ, change: [['rtp_timeout_secs = 60', `rtp_timeout_secs = ${TIMEOUT_SECS}`]],
  });
  const chromium = await launchChromium();
  const alice = await BrowserPeer.start(chromium, gateway, 'jssip', 'alice');
  const bob = await BrowserPeer.start(chromium, gateway, 'jssip', 'bob');
  const hall = await Baresip.start(gateway, 'hall', { hz: 1000 });
  return { gateway, chromium, alice, bob, hall };
}

export async function tearDown({ gateway, chromium, alice, bob, hall }) {
  await Promise.all([alice.stop(), bob.stop(), hall.stop()]);
  await chromium.close();
  await gateway.stop();
}

export const cases = [
  { name: 'a phone is killed: the browser is told why, and so is the record', async test({ gateway, alice }) {
    const desk = await Baresip.start(gateway, 'desk', { hz: 600 });
    try {
      await connect(alice, desk, 201);
      const words = await hearEachOther(alice, desk);
      const killed = Date.now();
      await desk.child.stop('SIGKILL');
      const ended = await alice.sees(/^ended remote .*Media failed: its audio stopped/, (TIMEOUT_SECS + 5) * 1000);
      const seconds = (Date.now() - killed) / 1000;
      assert.ok(seconds > TIMEOUT_SECS - 1, `it ended after ${seconds} s`);
      const [record] = await until('the call is on record', async () => {
        const all = await gateway.calls();
        return all.length && all;
      });
      assert.equal(record.ended_by, 'media of desk failed: its audio stopped');
      assert.match(await gateway.command(['calls']), /media of desk failed: its audio stopped/);
      return [...words, `${ended} after ${seconds.toFixed(1)} s`];
    } finally {
      await desk.stop();
    }
  } },
  { name: 'a held call goes on, however silent', async test({ alice, hall }) {
    // baresip holds and sends on; a browser that holds sends nothing that could be heard: it is the one that may be silent.
    await connect(alice, hall, 200);
    await alice.hold();
    await delay((TIMEOUT_SECS + 2) * 1000);
    const words = await hear([[hall, MUSIC_HZ]]);
    await alice.resume();
    words.push(...await hearEachOther(alice, hall));
    await alice.hangUp();
    await Promise.all([alice.over(), hall.over()]);
    return words;
  } },
];
