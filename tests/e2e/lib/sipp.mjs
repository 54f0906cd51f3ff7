// sipp as a scripted phone over UDP: an account's caller or callee by one of the scenarios in ../sipp/.
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { ADDRESS, DOMAIN, freeUdpPort, freeUdpPortWith, passwordOf } from './gateway.mjs';
import { Child } from './process.mjs';
import { written } from './scenario.mjs';
import { Wire } from './sip.mjs';
import { toneUlaw } from './tone.mjs';

/** `scenario` is the name of a file in ../sipp/, or steps of lib/scenario.mjs; `hz` is the tone that its stream() plays. */
async function start(gateway, name, scenario, { number = '', password = passwordOf(name), port, status, hz = 500, patienceMs = 20_000, args = [] } = {}) {
  const dir = await mkdtemp(join(tmpdir(), 'ringway-sipp-'));
  const text = Array.isArray(scenario) ? written(scenario) : await readFile(fileURLToPath(new URL(`../sipp/${scenario}.xml`, import.meta.url)), 'utf8');
  // sipp takes a status for a number alone, and a field only as the whole keyword.
  await writeFile(join(dir, 'scenario.xml'), text.replace('"STATUS"', `"${status}"`));
  await writeFile(join(dir, 'tone.ulaw'), toneUlaw(hz, 1));
  await writeFile(join(dir, 'accounts.csv'), `SEQUENTIAL\n${name};${number};${DOMAIN};[authentication username=${name} password=${password}]\n`);
  // Two at once would take the same port, and sipp ends at once where either is taken.
  const rtp = await freeUdpPortWith(2);
  const child = new Child('sipp', 'sipp', [gateway.sip, '-sf', 'scenario.xml', '-inf', 'accounts.csv', '-i', ADDRESS, '-p', String(port ?? await freeUdpPort()),
    '-m', '1', '-nd', '-nostdin', '-recv_timeout', String(patienceMs), '-trace_err', '-error_file', 'errors', '-trace_msg', '-message_file', 'messages', '-mp', String(rtp), ...args], { cwd: dir });
  return {
    child,
    /** What it has sent and received so far. */
    messages: () => readFile(join(dir, 'messages'), 'utf8').catch(() => ''),
    /** Ends well, or says what sipp missed. */
    async done() {
      const code = await child.ended;
      const errors = await readFile(join(dir, 'errors'), 'utf8').catch(() => '');
      const messages = code === 0 ? '' : await readFile(join(dir, 'messages'), 'utf8').catch(() => '');
      await rm(dir, { recursive: true, force: true });
      if (code !== 0) throw new Error(`sipp ${name} ended with ${code}: ${errors.slice(0, 600)}\n${messages.slice(-1500)}`);
    },
    async stop() {
      await child.stop('SIGKILL');
      await rm(dir, { recursive: true, force: true });
    },
  };
}

export const caller = (gateway, name, scenario, options) => start(gateway, name, scenario, options);

/** One that is a peer of the gateway by its address. */
export const at = (gateway, name, port, scenario, options) => start(gateway, name, scenario, { ...options, port });

/** Registers `name` from a port, then answers there as the scenario says. */
export async function callee(gateway, name, scenario, options) {
  const wire = await Wire.open(gateway);
  const authorization = wire.answer(await wire.register(name, 1), name, passwordOf(name));
  const registered = await wire.register(name, 2, { authorization });
  if (!registered.startsWith('SIP/2.0 200')) throw new Error(`${name} is not registered: ${registered}`);
  const { port } = wire;
  wire.close();
  return start(gateway, name, scenario, { ...options, port });
}
