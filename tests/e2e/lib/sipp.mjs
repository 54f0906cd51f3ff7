// sipp as a scripted phone over UDP: an account's caller or callee by one of the scenarios in ../sipp/.
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { ADDRESS, DOMAIN, freeUdpPort, passwordOf } from './gateway.mjs';
import { Child } from './process.mjs';
import { Wire } from './sip.mjs';

async function start(gateway, name, scenario, { number = '', password = passwordOf(name), port, status } = {}) {
  const dir = await mkdtemp(join(tmpdir(), 'ringway-sipp-'));
  const file = fileURLToPath(new URL(`../sipp/${scenario}.xml`, import.meta.url));
  // sipp takes a status for a number alone, and a field only as the whole keyword.
  await writeFile(join(dir, 'scenario.xml'), (await readFile(file, 'utf8')).replace('"STATUS"', `"${status}"`));
  await writeFile(join(dir, 'accounts.csv'), `SEQUENTIAL\n${name};${number};${DOMAIN};[authentication username=${name} password=${password}]\n`);
  const child = new Child('sipp', 'sipp', [gateway.sip, '-sf', 'scenario.xml', '-inf', 'accounts.csv', '-i', ADDRESS, '-p', String(port ?? await freeUdpPort()),
    '-m', '1', '-nd', '-nostdin', '-recv_timeout', '20000', '-trace_err', '-error_file', 'errors', '-trace_msg', '-message_file', 'messages'], { cwd: dir });
  return {
    child,
    /** Ends well, or says what sipp missed. */
    async done() {
      const code = await child.ended;
      const errors = await readFile(join(dir, 'errors'), 'utf8').catch(() => '');
      const messages = code === 0 ? '' : await readFile(join(dir, 'messages'), 'utf8').catch(() => '');
      await rm(dir, { recursive: true, force: true });
      if (code !== 0) throw new Error(`sipp ${scenario} ended with ${code}: ${errors.slice(0, 600)}\n${messages.slice(-1500)}`);
    },
    async stop() {
      await child.stop('SIGKILL');
      await rm(dir, { recursive: true, force: true });
    },
  };
}

export const caller = (gateway, name, scenario, options) => start(gateway, name, scenario, options);

/** Registers `name` from a port, then answers there as the scenario says. */
export async function callee(gateway, name, scenario) {
  const wire = await Wire.open(gateway);
  const authorization = wire.answer(await wire.register(name, 1), name, passwordOf(name));
  const registered = await wire.register(name, 2, { authorization });
  if (!registered.startsWith('SIP/2.0 200')) throw new Error(`${name} is not registered: ${registered}`);
  const { port } = wire;
  wire.close();
  return start(gateway, name, scenario, { port });
}
