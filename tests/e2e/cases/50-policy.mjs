// What profiles, dialplan and peers by address change, with real devices: policy is data, and the data is believed.
import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Baresip } from '../lib/baresip.mjs';
import { BrowserPeer, launchChromium } from '../lib/browsers.mjs';
import { ADDRESS, Gateway, freeUdpPort } from '../lib/gateway.mjs';
import { Child, delay, until } from '../lib/process.mjs';
import { assertTone } from '../lib/tone.mjs';

const JSSIP = new URL('../../../sip-profiles/jssip.toml', import.meta.url);
const DIALPLAN = '[[rule]]\nname = "to the PBX"\ndial = "0."\nfrom = "peer:trunk"\nto = "peer:pbx"\nstrip = 1\n';

export async function setUp() {
  const dir = await mkdtemp(join(tmpdir(), 'ringway-policy-'));
  await writeFile(join(dir, 'jssip.toml'), (await readFile(JSSIP, 'utf8')).replace('prefer = "opus"', 'prefer = "passthrough"'));
  await writeFile(join(dir, 'dialplan.plan'), DIALPLAN + '[[rule]]\nname = "accounts"\naccount = true\nto = "account"\n');
  const [trunk, pbx] = [await freeUdpPort(), await freeUdpPort()];
  const peer = (name, port) => `[[peer]]\nname = "${name}"\naddress = "${ADDRESS}:${port}"\nprofile = "generic-pbx"\ntrusted = true\n\n`;
  const gateway = await Gateway.start({
    accounts: { alice: 101, hall: 200 },
    change: [
      ['# dir = "sip-profiles"', `dir = "${dir}"`],
      ['# file = "dialplan.toml"', `file = "${join(dir, 'dialplan.plan')}"`],
      ['[profiles]', `${peer('trunk', trunk)}${peer('pbx', pbx)}[profiles]`],
    ],
  });
  const chromium = await launchChromium();
  const hall = await Baresip.start(gateway, 'hall', { hz: 1000 });
  const alice = await BrowserPeer.start(chromium, gateway, 'jssip', 'alice');
  return { dir, gateway, chromium, hall, alice, trunk, pbx };
}

export async function tearDown({ dir, gateway, chromium, hall, alice }) {
  await Promise.all([hall.stop(), alice.stop()]);
  await chromium.close();
  await gateway.stop();
  await rm(dir, { recursive: true, force: true });
}

async function lastRecord(gateway, before) {
  const calls = await until('the call is on record', async () => {
    const all = await gateway.calls();
    return all.length > before && all;
  });
  return calls[0];
}

async function passthrough({ gateway, alice, hall }) {
  const before = (await gateway.calls()).length;
  await alice.dial(200);
  await hall.sees('CALL_INCOMING');
  await hall.answer();
  await Promise.all([alice.sees(/^confirmed/), hall.sees('CALL_ESTABLISHED')]);
  await delay(3_500);
  const heard = await alice.recording();
  await alice.hangUp();
  await hall.sees('CALL_CLOSED');
  const words = [assertTone('alice hears hall', heard, hall.hz), assertTone('hall hears alice', await hall.recording(), alice.hz)];
  const { pipeline } = await lastRecord(gateway, before);
  assert.match(pipeline, /^A \[PCM[UA].*<- Rewrite -> B \[PCM[UA]/, 'nothing is decoded');
  return [...words, pipeline];
}

/** sipp's own caller and callee, neither of which knows a password. */
async function throughPeers({ gateway, trunk, pbx }) {
  const before = (await gateway.calls()).length;
  const sipp = (words, args) => new Child(words, 'sipp', [...args, '-i', ADDRESS, '-m', '1', '-nd', '-nostdin', '-timeout', '20s', '-timeout_error']);
  const callee = sipp('sipp as the PBX', ['-sn', 'uas', '-p', String(pbx)]);
  const caller = sipp('sipp as the trunk', ['-sn', 'uac', gateway.sip, '-s', '0123', '-d', '500', '-p', String(trunk)]);
  try {
    assert.deepEqual(await Promise.all([caller.ended, callee.ended]), [0, 0]);
  } finally {
    await Promise.all([caller.stop('SIGKILL'), callee.stop('SIGKILL')]);
  }
  const { status, because, dialled, id } = await lastRecord(gateway, before);
  assert.deepEqual([status, dialled], [200, '0123']);
  assert.match(because, /"to the PBX"/);
  assert.match(await gateway.command(['ladder', id, '--full']), new RegExp(`INVITE sip:123@${ADDRESS}:${pbx} `), 'without its prefix');
  return because;
}

export const cases = [
  { name: 'a browser whose profile prefers passthrough is never transcoded', test: passthrough },
  { name: 'a trusted trunk calls a PBX by a rule of the dialplan', test: throughPeers },
];
