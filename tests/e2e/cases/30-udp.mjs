// What goes wrong over UDP, by sipp's scenarios: each side ends as it must, and so does the call's record.
import assert from 'node:assert/strict';
import { Gateway } from '../lib/gateway.mjs';
import { until } from '../lib/process.mjs';
import { callee, caller } from '../lib/sipp.mjs';

export async function setUp() {
  // An account a case: a callee that is gone leaves a binding that nobody answers any more.
  const accounts = { caller: 300, ...Object.fromEntries(Array.from({ length: 12 }, (_, i) => [`callee${i}`, 400 + i])) };
  return { gateway: await Gateway.start({ accounts, change: [['ring_secs = 60', 'ring_secs = 5']] }), called: 0 };
}

export const tearDown = ({ gateway }) => gateway.stop();

async function run(world, { by, to, expect, status, record, password, ladder }) {
  const { gateway } = world;
  const before = (await gateway.calls()).length;
  const at = world.called++;
  const phone = to && await callee(gateway, `callee${at}`, to);
  const sipp = await caller(gateway, 'caller', by, { number: phone ? 400 + at : expect, status, password });
  try {
    await sipp.done();
    if (phone && to !== 'callee-silent') await phone.done();
  } finally {
    await sipp.stop();
    await phone?.stop();
  }
  if (!record) return;
  const calls = await until('the call is on record', async () => {
    const all = await gateway.calls();
    return all.length > before && all;
  });
  assert.equal(calls.length, before + 1, 'one call, one record');
  assert.equal(calls[0].status, record, calls[0].ended_by);
  if (ladder) assert.match(await gateway.lastLadder(), ladder);
}

export const cases = [
  ['486: busy', { by: 'caller-refused', to: 'callee-486', status: 486, record: 486 }],
  ['603: declined', { by: 'caller-refused', to: 'callee-603', status: 603, record: 603 }],
  // A 503 speaks of the phone alone and must not keep the caller from us (RFC 3261 section 16.7 step 6).
  ['503 from the phone', { by: 'caller-refused', to: 'callee-503', status: 500, record: 500 }],
  ['a phone that never says anything', { by: 'caller-refused', to: 'callee-silent', status: 480, record: 480 }],
  ['404: nobody has the number', { by: 'caller-refused', expect: 999, status: 404 }],
  ['no answer, and CANCEL', { by: 'caller-cancels', to: 'callee-rings', record: 487 }],
  ['a call as it should be', { by: 'caller-talks', to: 'callee-answers', record: 200 }],
  ['BYE crosses BYE', { by: 'caller-talks', to: 'callee-crosses-bye', record: 200 }],
  ['the INVITE comes three times', { by: 'caller-repeats-invite', expect: 600, record: 200 }],
  ['a re-INVITE', { by: 'caller-reinvites', expect: 600, record: 200 }],
  ['the ACK is lost', { by: 'caller-loses-ack', expect: 600, record: 200, ladder: /(200 OK \(SDP[^]*){2,}/ }],
  ['a wrong password', { by: 'caller-wrong-password', expect: 600, password: 'guessed-wrong' }],
].map(([name, scenario]) => ({ name, test: world => run(world, scenario) }));
