// Child processes: their lines are kept and can be waited for; they are ended by their own pid.
import { spawn } from 'node:child_process';

const running = new Set();

export const delay = ms => new Promise(resolve => setTimeout(resolve, ms));

/** Waits until `probe()` gives something true, looking every 50 ms. */
export async function until(what, probe, timeoutMs = 10_000) {
  const end = Date.now() + timeoutMs;
  for (;;) {
    const value = await probe();
    if (value) return value;
    if (Date.now() > end) throw new Error(`after ${timeoutMs} ms still not: ${what}`);
    await delay(50);
  }
}

export class Child {
  constructor(name, command, args, options = {}) {
    this.name = name;
    this.text = '';
    this.process = spawn(command, args, { stdio: ['pipe', 'pipe', 'pipe'], ...options });
    running.add(this);
    for (const stream of [this.process.stdout, this.process.stderr]) {
      stream.setEncoding('utf8');
      stream.on('data', chunk => { this.text += chunk; });
    }
    this.process.stdin.on('error', () => {});
    this.ended = new Promise(resolve => {
      const done = code => { running.delete(this); resolve(code ?? -1); };
      this.process.on('error', error => { this.text += `${error}\n`; done(-1); });
      this.process.on('close', done);
    });
  }

  say(line) {
    this.process.stdin.write(`${line}\n`);
  }

  /** Waits for `pattern` in the output after `from` characters; gives the match. */
  async sees(pattern, timeoutMs = 10_000, from = 0) {
    const found = () => this.text.slice(from).match(pattern);
    try {
      return await until(`${this.name} says ${pattern}`, () => {
        const match = found();
        if (!match && !running.has(this)) throw new Error(`${this.name} ended before it said ${pattern}:\n${this.tail()}`);
        return match;
      }, timeoutMs);
    } catch (error) {
      throw new Error(`${error.message}\n${this.tail()}`);
    }
  }

  tail() {
    return this.text.split('\n').slice(-15).map(line => `    ${this.name}| ${line}`).join('\n');
  }

  async stop(signal = 'SIGTERM') {
    if (!running.has(this)) return this.ended;
    this.process.kill(signal);
    const hard = setTimeout(() => this.process.kill('SIGKILL'), 5_000);
    const code = await this.ended;
    clearTimeout(hard);
    return code;
  }
}

/** Runs to the end; gives {code, text}. */
export async function run(name, command, args, { input = '', timeoutMs = 30_000, ...options } = {}) {
  const child = new Child(name, command, args, options);
  child.process.stdin.end(input);
  const timer = setTimeout(() => child.stop('SIGKILL'), timeoutMs);
  const code = await child.ended;
  clearTimeout(timer);
  return { code, text: child.text };
}

export async function stopAll() {
  await Promise.all([...running].map(child => child.stop()));
}
