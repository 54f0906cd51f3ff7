// Is a tone in a recording? Its power against all other power, and how much of the time it was away.

/** Power at `hz` of samples[from..to), as a sine's mean square (Goertzel). */
function powerAt(samples, from, to, rate, hz) {
  const k = 2 * Math.cos((2 * Math.PI * hz) / rate);
  let [a, b] = [0, 0];
  for (let i = from; i < to; i++) [a, b] = [samples[i] + k * a - b, a];
  return (2 * (a * a + b * b - k * a * b)) / (to - from) ** 2;
}

function totalPower(samples, from, to) {
  let [sum, square] = [0, 0];
  for (let i = from; i < to; i++) { sum += samples[i]; square += samples[i] ** 2; }
  const n = to - from;
  return Math.max(0, square / n - (sum / n) ** 2);
}

/**
 * What there is of `hz` in samples (-1 to 1) between the tone's first and last sound:
 * snrDb: the median over 100 ms windows of tone against the rest, in which the tone's pitch may be off by 3 Hz (a sender's
 *   clock is its own); gaps: the share of 20 ms windows more than 12 dB below the median; seconds: how long it was there.
 */
export function analyse(samples, rate, hz) {
  if (!samples.length) return { snrDb: -99, gaps: 1, seconds: 0, peakHz: 0 };
  const short = Math.round(rate * 0.02);
  const levels = [];
  for (let at = 0; at + short <= samples.length; at += short) levels.push(totalPower(samples, at, at + short));
  const loud = levels.map((level, at) => ({ level, at })).filter(({ level }) => level > 1e-5);
  if (loud.length < 10) return { snrDb: -99, gaps: 1, seconds: 0, peakHz: 0 };
  // The first and last moments are the codec's and the recorder's own.
  const [first, last] = [loud[0].at + 5, loud.at(-1).at - 5];
  const inside = levels.slice(first, last);
  const median = [...inside].sort((a, b) => a - b)[Math.floor(inside.length / 2)];
  const gaps = inside.filter(level => level < median / 16).length / inside.length;

  const [from, to] = [first * short, last * short];
  let [best, bestPower] = [hz, 0];
  for (let near = hz - 3; near <= hz + 3; near += 0.5) {
    const power = powerAt(samples, from, Math.min(to, from + rate), rate, near);
    if (power > bestPower) [best, bestPower] = [near, power];
  }
  const window = Math.round(rate * 0.1);
  const ratios = [];
  for (let at = from; at + window <= to; at += window) {
    const [all, tone] = [totalPower(samples, at, at + window), powerAt(samples, at, at + window, rate, best)];
    ratios.push(10 * Math.log10(tone / Math.max(all - tone, 1e-12)));
  }
  ratios.sort((a, b) => a - b);
  return { snrDb: ratios[Math.floor(ratios.length / 2)] ?? -99, gaps, seconds: inside.length * 0.02, peakHz: best };
}

export function assertTone(who, { samples, rate }, hz, { seconds = 2, gaps = 0.05 } = {}) {
  const found = analyse(samples, rate, hz);
  const words = `${who}: ${hz} Hz at ${found.snrDb.toFixed(1)} dB over the rest, gaps ${(found.gaps * 100).toFixed(1)} %, ${found.seconds.toFixed(1)} s`;
  if (found.snrDb > 20 && found.gaps < gaps && found.seconds >= seconds) return words;
  const error = new Error(`the tone is not as it must be: ${words}`);
  error.recording = { samples, rate };
  // Nothing else is wrong with it than that some of it is not there: see run.mjs.
  if (found.snrDb > 20) error.missingMs = 1000 * (found.gaps * found.seconds + Math.max(0, seconds - found.seconds));
  throw error;
}

/** A 16-bit mono WAV file of samples (-1 to 1). */
export function wav(samples, rate) {
  const data = Buffer.alloc(44 + samples.length * 2);
  data.write('RIFF', 0);
  data.writeUInt32LE(36 + samples.length * 2, 4);
  data.write('WAVEfmt ', 8);
  data.writeUInt32LE(16, 16);
  data.writeUInt16LE(1, 20);
  data.writeUInt16LE(1, 22);
  data.writeUInt32LE(rate, 24);
  data.writeUInt32LE(rate * 2, 28);
  data.writeUInt16LE(2, 32);
  data.writeUInt16LE(16, 34);
  data.write('data', 36);
  data.writeUInt32LE(samples.length * 2, 40);
  samples.forEach((sample, i) => data.writeInt16LE(Math.round(sample * 32767), 44 + i * 2));
  return data;
}

/** A WAV file of a sine whose length is a whole number of periods. */
export function toneWav(hz, rate, seconds, amplitude = 0.4) {
  return wav(Float32Array.from({ length: rate * seconds }, (_, i) => Math.sin((2 * Math.PI * hz * i) / rate) * amplitude), rate);
}

/** The same in µ-law at 8,000 Hz, without a header. */
export function toneUlaw(hz, seconds) {
  const pcm = toneWav(hz, 8000, seconds).subarray(44);
  return Uint8Array.from({ length: pcm.length / 2 }, (_, i) => ulaw(pcm.readInt16LE(i * 2)));
}

/** G.711: sign, exponent of the magnitude with its bias of 132, four bits of it. */
function ulaw(sample) {
  const magnitude = Math.min(Math.abs(sample), 32635) + 132;
  const exponent = Math.floor(Math.log2(magnitude)) - 7;
  return ~((sample < 0 ? 0x80 : 0) | (exponent << 4) | ((magnitude >> (exponent + 3)) & 15)) & 0xff;
}

const ROWS = [697, 770, 852, 941];
const COLUMNS = [1209, 1336, 1477, 1633];
const PAD = '123A456B789C*0#D';

/** A WAV file of keys as tones, 150 ms each, `after` ms from its beginning. */
export function keysWav(keys, rate, seconds, after) {
  const data = toneWav(0, rate, seconds);
  [...keys].forEach((key, n) => {
    const at = PAD.indexOf(key);
    const from = Math.round(rate * (after + n * 400) / 1000);
    for (let i = 0; i < rate * 0.15; i++) {
      const wave = hz => Math.sin((2 * Math.PI * hz * i) / rate) * 0.2 * 32767;
      data.writeInt16LE(Math.round(wave(ROWS[at >> 2]) + wave(COLUMNS[at & 3])), 44 + (from + i) * 2);
    }
  });
  return data;
}

/** The keys that a recording holds as tones (ITU-T Q.23), each once for as long as it sounds. */
export function keysIn({ samples, rate }) {
  const window = Math.round(rate * 0.04);
  let [keys, last] = ['', ''];
  for (let from = 0; from + window <= samples.length; from += window / 2) {
    const [start, end] = [Math.round(from), Math.round(from) + window];
    const all = totalPower(samples, start, end);
    const loudest = pitches => pitches.map(hz => powerAt(samples, start, end, rate, hz)).reduce((best, power, at) => (power > best.power ? { power, at } : best), { power: 0, at: 0 });
    const [row, column] = [loudest(ROWS), loudest(COLUMNS)];
    const heard = all > 1e-5 && row.power + column.power > all * 0.7 && row.power > all * 0.1 && column.power > all * 0.1 ? PAD[row.at * 4 + column.at] : '';
    if (heard && heard !== last) keys += heard;
    last = heard;
  }
  return keys;
}

/** Reads a 16-bit PCM WAV file, the first channel. */
export function readWav(data) {
  let [at, rate, channels] = [12, 8000, 1];
  while (at + 8 <= data.length) {
    const [id, size] = [data.toString('latin1', at, at + 4), data.readUInt32LE(at + 4)];
    if (id === 'fmt ') [channels, rate] = [data.readUInt16LE(at + 10), data.readUInt32LE(at + 12)];
    if (id === 'data') {
      // A recorder that was ended may not have written the size.
      const end = size === 0 || size > data.length - at - 8 ? data.length : at + 8 + size;
      const count = Math.floor((end - at - 8) / (2 * channels));
      return { rate, samples: Float32Array.from({ length: count }, (_, i) => data.readInt16LE(at + 8 + i * 2 * channels) / 32768) };
    }
    at += 8 + size + (size % 2);
  }
  return { rate, samples: new Float32Array() };
}
