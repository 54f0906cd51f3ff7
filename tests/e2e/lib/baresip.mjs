// baresip as the phone: G.711 alone, a configuration of its own, told what to do over its control port.
import { access, mkdtemp, readFile, readdir, rm, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ADDRESS, DOMAIN, controlPort, freeUdpPort, passwordOf } from './gateway.mjs';
import { Child, delay, until } from './process.mjs';
import { keysWav, readWav, toneWav } from './tone.mjs';

async function modulePath() {
  for (const dir of [process.env.BARESIP_MODULES, '/usr/lib/baresip/modules', '/usr/local/lib/baresip/modules']) {
    if (dir && await access(dir).then(() => true, () => false)) return dir;
  }
  throw new Error("baresip's modules are not found; say where by BARESIP_MODULES");
}

export class Baresip {
  events = [];

  /** keys: its sound is these keys as tones and nothing else. */
  static async start(gateway, name, { hz = 1000, keys, codec = 'PCMU', seconds = 120, register = true } = {}) {
    const phone = new Baresip();
    phone.name = name;
    phone.hz = hz;
    // Its ports were free a moment ago: where another program took one since, it has another try on others.
    for (let tries = 3; !phone.control; tries -= 1) {
      try {
        await phone.#launch(gateway, { keys, codec, seconds, register });
      } catch (error) {
        await phone.stop();
        if (tries === 1) throw error;
      }
    }
    phone.#listen();
    if (register) await phone.child.sees(/200 OK \(/);
    return phone;
  }

  async #launch(gateway, { keys, codec, seconds, register }) {
    this.dir = await mkdtemp(join(tmpdir(), 'ringway-baresip-'));
    const [control, sip] = [await controlPort(), await freeUdpPort()];
    await writeFile(join(this.dir, 'tone.wav'), keys ? keysWav(keys, 8000, seconds, 1_500) : toneWav(this.hz, 8000, seconds));
    await writeFile(join(this.dir, 'config'), [
      `module_path ${await modulePath()}`,
      'module g711.so', 'module aufile.so', 'module sndfile.so',
      'module_tmp account.so', 'module_app menu.so', 'module_app ctrl_tcp.so',
      `ctrl_tcp_listen 127.0.0.1:${control}`,
      `sip_listen ${ADDRESS}:${sip}`,
      `audio_source aufile,${join(this.dir, 'tone.wav')}`,
      `audio_player aufile,${join(this.dir, 'played.wav')}`,
      `snd_path ${this.dir}`,
      'call_local_timeout 120', 'call_max_calls 4', 'audio_level no', 'rtp_stats no', 'sip_verify_server no',
    ].join('\n') + '\n');
    await writeFile(join(this.dir, 'accounts'),
      `<sip:${this.name}@${DOMAIN}>;auth_user=${this.name};auth_pass=${passwordOf(this.name)};outbound="sip:${gateway.sip};transport=udp";`
      + `regint=${register ? 300 : 0};answermode=manual;audio_codecs=${codec}/8000/1;ptime=20\n`);
    await writeFile(join(this.dir, 'contacts'), '');
    this.child = new Child('baresip', 'baresip', ['-f', this.dir]);
    this.control = await until('baresip listens', () => new Promise(resolve => {
      const socket = connect(control, '127.0.0.1').on('connect', () => resolve(socket)).on('error', () => resolve(null));
    }));
  }

  /** Netstrings of JSON: `12:{"event":…},`. */
  #listen() {
    let rest = Buffer.alloc(0);
    this.control.on('data', chunk => {
      rest = Buffer.concat([rest, chunk]);
      for (;;) {
        const colon = rest.indexOf(':');
        const size = Number(rest.toString('latin1', 0, colon));
        if (colon < 0 || rest.length < colon + 1 + size + 1) return;
        const message = JSON.parse(rest.toString('utf8', colon + 1, colon + 1 + size));
        rest = rest.subarray(colon + 2 + size);
        if (message.event) this.events.push(message);
      }
    });
    this.control.on('error', () => {});
  }

  do(command, params = '') {
    const text = JSON.stringify({ command, params, token: command });
    this.control.write(`${Buffer.byteLength(text)}:${text},`);
  }

  /** Forgets what has happened. */
  forget() {
    this.events.length = 0;
  }

  async sees(type, timeoutMs = 10_000) {
    try {
      return await until(`baresip reports ${type}`, () => this.events.find(event => event.type === type), timeoutMs);
    } catch (error) {
      const seen = this.events.map(({ type, param }) => `${type} ${param ?? ''}`).join(', ');
      throw new Error(`${error.message}; it reported: ${seen}\n${this.child.tail()}`);
    }
  }

  rings() { return this.sees('CALL_INCOMING'); }
  talks() { return this.sees('CALL_ESTABLISHED'); }
  over() { return this.sees('CALL_CLOSED'); }

  dial(number) { this.do('dial', `sip:${number}@${DOMAIN}`); }
  answer() { this.do('accept'); }
  hangUp() { this.do('hangup'); }
  transfer(number) { this.do('transfer', `sip:${number}@${DOMAIN}`); }
  /** Its answer to the re-INVITE is reported as any other; the second description of the call is its. */
  async #reinvites(command) {
    const answers = () => this.events.filter(({ type }) => type === 'CALL_REMOTE_SDP').length;
    const before = answers();
    this.do(command);
    await until(`baresip's ${command} is answered`, () => answers() > before);
  }
  hold() { return this.#reinvites('hold'); }
  resume() { return this.#reinvites('resume'); }

  /** Presses one key after the other, each for as long as a person would. */
  async press(text) {
    for (const key of text) {
      this.do('sndcode', key);
      await delay(350);
    }
  }

  /** The keys that it was sent since it was last told to forget; an end is reported as one, too. */
  keys() {
    return this.events.filter(({ type, param }) => type === 'CALL_DTMF_START' && param !== '\u0004').map(({ param }) => param).join('');
  }

  async #recordings() {
    const files = (await readdir(this.dir)).filter(file => /dec.*\.wav$/.test(file)).sort();
    return Promise.all(files.map(async file => ({ file, ...readWav(await readFile(join(this.dir, file))) })));
  }

  /**
   * What is heard from now on, as heard() gives it. After a hold of its own it records nothing more, also without a gateway:
   * version 1.0 throws its recorder of what it hears away with the first such re-INVITE.
   */
  async listen() {
    this.heardBefore = new Map((await this.#recordings()).map(({ file, samples }) => [file, samples.length]));
  }

  async heard() {
    const fresh = (await this.#recordings()).map(({ file, rate, samples }) => ({ rate, samples: samples.subarray(this.heardBefore.get(file) ?? 0) }));
    return fresh.filter(({ samples }) => samples.length).at(-1) ?? { rate: 8000, samples: new Float32Array() };
  }

  /** The newest recording of what was heard. */
  async recording() {
    const files = (await readdir(this.dir)).filter(file => /dec.*\.wav$/.test(file)).sort();
    if (!files.length) throw new Error(`baresip recorded nothing\n${this.child.tail()}`);
    return readWav(await readFile(join(this.dir, files.at(-1))));
  }

  async clearRecordings() {
    for (const file of await readdir(this.dir)) if (file.startsWith('dump')) await rm(join(this.dir, file));
  }

  async stop() {
    if (this.control) {
      this.do('quit');
      await Promise.race([this.child.ended, delay(2_000)]);
    }
    await this.child?.stop();
    this.control?.destroy();
    await rm(this.dir, { recursive: true, force: true });
  }
}
