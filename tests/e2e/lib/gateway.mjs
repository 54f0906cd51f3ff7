// A gateway of one's own: free ports, a directory of its own, this machine's own address (Firefox sends no STUN to loopback).
import { createSocket } from 'node:dgram';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { networkInterfaces, tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Child, run } from './process.mjs';
import { toneWav } from './tone.mjs';

const ROOT = fileURLToPath(new URL('../../..', import.meta.url));
const BUILT = process.env.RINGWAY_BUILT ?? join(ROOT, process.env.CARGO_TARGET_DIR ?? 'target', 'debug');
export const RINGWAY = join(BUILT, 'ringway');
export const ANALOG_PHONE = join(BUILT, 'analog-phone');
export const DOMAIN = 'e2e.test';

export const ADDRESS = (() => {
  const all = Object.values(networkInterfaces()).flat();
  return all.find(({ family, internal }) => family === 'IPv4' && !internal)?.address ?? '127.0.0.1';
})();

export const passwordOf = name => `${name}-secret-1`;

const free = make => new Promise((resolve, reject) => make(resolve, reject));
const tcpPort = (wanted, address) => free((resolve, reject) => {
  const server = createServer().on('error', reject);
  server.listen(wanted, address, () => { const { port } = server.address(); server.close(() => resolve(port)); });
});
export const freeTcpPort = () => tcpPort(0, ADDRESS);

let controlPorts = 0;

/**
 * A port for a phone to be told what to do at, on the loopback: no other phone of this run is given it, and the system hands none of
 * these out by itself. Whoever connects to a port that its own phone could not have takes another one's phone over.
 */
export async function controlPort() {
  for (;;) {
    const port = await tcpPort(30_000 + (process.pid * 41 + controlPorts++) % 2_700, '127.0.0.1').catch(() => null);
    if (port) return port;
  }
}

export const freeUdpPort = () => free((resolve, reject) => {
  const socket = createSocket('udp4').on('error', reject);
  socket.bind(0, ADDRESS, () => { const { port } = socket.address(); socket.close(() => resolve(port)); });
});

/** A free UDP port, even, where the one so much higher is free, too: a second media worker's, or sipp's for video. */
export async function freeUdpPortWith(distance) {
  for (;;) {
    const first = await freeUdpPort();
    if (first % 2) continue;
    const next = createSocket('udp4');
    const free = await new Promise(resolve => next.on('error', () => resolve(false)).bind(first + distance, ADDRESS, () => resolve(true)));
    next.close();
    if (free) return first;
  }
}

let rtpBlock = 0;

function changed(file, text, changes) {
  return changes.reduce((text, [from, to]) => {
    if (!text.includes(from)) throw new Error(`${file} has no ${from}`);
    return text.replace(from, to);
  }, text);
}

export class Gateway {
  /**
   * accounts: {name: number}; change: [[text in ringway.toml, what to put in its place]]; dialplan: rules of one's own;
   * profiles: {name: change of the built-in one of that name, as for ringway.toml}; music: who is held hears this many Hz; udpPort: of
   * SIP over UDP, where another must know it beforehand.
   */
  static async start({ accounts, change = [], init = [], dialplan, profiles = {}, music, udpPort } = {}) {
    const gateway = new Gateway();
    gateway.dir = await mkdtemp(join(tmpdir(), 'ringway-e2e-'));
    gateway.config = join(gateway.dir, 'ringway.toml');
    [gateway.webPort, gateway.udpPort, gateway.webrtcPort] = [await freeTcpPort(), udpPort ?? await freeUdpPort(), await freeUdpPortWith(1)];
    // Below the ports that the system hands out by itself; each run and each gateway has a block of its own.
    const first = gateway.rtpFirst = 12_000 + ((process.pid * 7 + rtpBlock++) % 180) * 100;
    await gateway.command(['init', '--domain', DOMAIN, '--address', ADDRESS, '--web-port', gateway.webPort, '--udp-port', gateway.udpPort,
      '--webrtc-port', gateway.webrtcPort, '--rtp-ports', `${first}-${first + 99}`, ...init]);
    change = [['workers = 0', 'workers = 2'], ...change];
    if (music) {
      await writeFile(join(gateway.dir, 'music.wav'), toneWav(music, 8000, 10));
      change = [...change, ['# hold_music_file', 'hold_music_file']];
    }
    if (dialplan) {
      await writeFile(join(gateway.dir, 'dialplan.toml'), dialplan);
      change = [...change, ['# file = "dialplan.toml"', 'file = "dialplan.toml"']];
    }
    if (Object.keys(profiles).length) {
      const dir = join(gateway.dir, 'sip-profiles');
      await mkdir(dir);
      for (const [name, changes] of Object.entries(profiles)) {
        const text = await readFile(join(ROOT, 'sip-profiles', `${name}.toml`), 'utf8');
        await writeFile(join(dir, `${name}.toml`), changed(`${name}.toml`, text, changes));
      }
      change = [...change, ['# dir = "sip-profiles"', 'dir = "sip-profiles"']];
    }
    await writeFile(gateway.config, changed('ringway.toml', await readFile(gateway.config, 'utf8'), change));
    for (const [name, number] of Object.entries(accounts ?? {})) await gateway.addAccount(name, number);
    await gateway.serve();
    return gateway;
  }

  async serve() {
    this.child = new Child('ringway', RINGWAY, ['--config', this.config, 'serve'], { env: { ...process.env, RINGWAY_LOG: 'ringway=info' } });
    await this.child.sees(/^ready$/m);
  }

  get url() { return `https://${ADDRESS}:${this.webPort}/`; }
  get sip() { return `${ADDRESS}:${this.udpPort}`; }

  async command(args, input = '') {
    const { code, text } = await run('ringway', RINGWAY, ['--config', this.config, ...args.map(String)], { input });
    if (code !== 0) throw new Error(`ringway ${args.join(' ')}: ${text}`);
    return text;
  }

  addAccount(name, number) {
    return this.command(['user', 'add', name, '--number', number, '--password-stdin'], `${passwordOf(name)}\n`);
  }

  async calls() {
    return JSON.parse(await this.command(['calls', '--json']));
  }

  /** The last call's ladder, for when something is wrong. */
  async lastLadder() {
    try {
      const [last] = await this.calls();
      return last ? await this.command(['ladder', last.id]) : 'no call was recorded';
    } catch (error) {
      return String(error);
    }
  }

  async stop() {
    await this.child.stop();
    await rm(this.dir, { recursive: true, force: true });
  }
}
