// Two houses are each other's trunk, and each has all of its calls with trunks share a port. Where that of the one would meet that of
// the other a second time, the call has ports of its own: nobody hears another's call.
import assert from 'node:assert/strict';
import { Baresip } from '../lib/baresip.mjs';
import { ADDRESS, Gateway, freeUdpPort } from '../lib/gateway.mjs';
import { delay, until } from '../lib/process.mjs';
import { assertTone } from '../lib/tone.mjs';

const TALK_MS = 3_500;

function house(accounts, udpPort, other, otherPort, numbers) {
  const peer = `[[peer]]\nname = "${other}"\naddress = "${ADDRESS}:${otherPort}"\nprofile = "generic-pbx"\ntrusted = true\n\n`;
  return Gateway.start({
    accounts,
    udpPort,
    // Each worker has a port for all of its own.
    change: [['workers = 2', 'workers = 1'], ['[profiles]', `${peer}[profiles]`]],
    dialplan: '[[rule]]\nname = "accounts"\naccount = true\nto = "account"\n\n'
      + `[[rule]]\nname = "the other house"\ndial = "${numbers}"\nfrom = "account"\nto = "peer:${other}"\n`,
  });
}

export async function setUp() {
  const [here, there] = [await freeUdpPort(), await freeUdpPort()];
  const gateway = await house({ hall: 200, desk: 201, den: 202 }, here, 'there', there, '3XX');
  const far = await house({ attic: 300, barn: 301, yard: 302 }, there, 'here', here, '2XX');
  const phone = (where, name, hz) => Baresip.start(where, name, { hz });
  const pairs = [
    [await phone(gateway, 'hall', 600), await phone(far, 'attic', 1000), 300],
    [await phone(gateway, 'desk', 700), await phone(far, 'barn', 1200), 301],
    // This one calls from there.
    [await phone(far, 'yard', 800), await phone(gateway, 'den', 1400), 202],
  ];
  return { gateway, far, pairs };
}

export async function tearDown({ gateway, far, pairs }) {
  await Promise.all(pairs.flatMap(([caller, callee]) => [caller.stop(), callee.stop()]));
  await Promise.all([gateway.stop(), far.stop()]);
}

/** The ports that this house names in each of its calls with the other. */
async function ports(gateway, calls) {
  const records = await until('all calls are on record', async () => {
    const all = await gateway.calls();
    return all.length === calls && all;
  });
  return Promise.all(records.map(async ({ id }) => {
    const ladder = await gateway.command(['ladder', id, '--full']);
    return [...new Set([...ladder.matchAll(/m=audio (\d+) RTP\/AVP /g)].map(([, port]) => Number(port)))]
      .filter(port => port >= gateway.rtpFirst && port < gateway.rtpFirst + 100);
  }));
}

async function callsAtOnce({ gateway, far, pairs }) {
  for (const [caller, callee, number] of pairs) {
    caller.dial(number);
    await callee.rings();
    callee.answer();
    await Promise.all([caller.talks(), callee.talks()]);
  }
  await delay(TALK_MS);
  for (const [caller] of pairs) caller.hangUp();
  await Promise.all(pairs.flatMap(([caller, callee]) => [caller.over(), callee.over()]));
  const words = [];
  for (const [caller, callee] of pairs) {
    words.push(assertTone(`${caller.name} hears ${callee.name}`, await caller.recording(), callee.hz));
    words.push(assertTone(`${callee.name} hears ${caller.name}`, await callee.recording(), caller.hz));
  }
  for (const [where, name] of [[gateway, 'here'], [far, 'there']]) {
    const named = await ports(where, pairs.length);
    const shared = named.filter(list => list.includes(where.rtpFirst)).length;
    assert.ok(shared >= 1 && shared < pairs.length, `${name}: ${JSON.stringify(named)}`);
    words.push(`${name}, ports of each call: ${named.map(list => list.join(' ')).join('; ')}`);
  }
  return words;
}

export const cases = [
  { name: 'two gateways are each other’s trunk, three calls of baresips at once', test: callsAtOnce },
];
