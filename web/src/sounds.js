// Ringtone, ringback and key clicks, made by WebAudio: no file to load. Pitches and pauses are those of the telephone.

let context;

/** The one audio context; must first be asked for after a click, or the browser keeps it silent. */
export function audioContext() {
  context ??= new AudioContext();
  if (context.state === 'suspended') context.resume().catch(() => {});
  return context;
}

// [seconds of sound, seconds of silence, pitches]
const RINGTONE = { bursts: [0.35, 0.2, 0.35, 2.1], hertz: [587, 740], gain: 0.12 };
const RINGBACK = { bursts: [1, 4], hertz: [425], gain: 0.06 };

/** Plays a pattern until the returned function is called. */
function repeat({ bursts, hertz, gain }) {
  const audio = audioContext();
  const volume = audio.createGain();
  volume.gain.value = 0;
  volume.connect(audio.destination);
  const tones = hertz.map(pitch => {
    const tone = audio.createOscillator();
    tone.frequency.value = pitch;
    tone.connect(volume);
    tone.start();
    return tone;
  });
  const once = () => {
    let at = audio.currentTime + 0.02;
    bursts.forEach((seconds, i) => {
      // Short ramps, so that nothing clicks.
      if (i % 2 === 0) {
        volume.gain.setTargetAtTime(gain, at, 0.01);
        volume.gain.setTargetAtTime(0, at + seconds, 0.02);
      }
      at += seconds;
    });
  };
  once();
  const timer = setInterval(once, bursts.reduce((sum, seconds) => sum + seconds, 0) * 1000);
  return () => {
    clearInterval(timer);
    volume.gain.cancelScheduledValues(0);
    volume.gain.setTargetAtTime(0, audio.currentTime, 0.02);
    for (const tone of tones) tone.stop(audio.currentTime + 0.2);
  };
}

/** Quiet: beside a call that goes on. */
export const ringtone = ({ quiet = false } = {}) => repeat(quiet ? { ...RINGTONE, gain: 0.03 } : RINGTONE);
export const ringback = () => repeat(RINGBACK);

const ROWS = [697, 770, 852, 941];
const COLUMNS = [1209, 1336, 1477];

/** A message has come. */
export function ping() {
  sound([880, 1320], { gain: 0.05, seconds: 0.06, fade: 0.09 });
}

/** The two pitches of a key, quietly, so that a press is heard; what the other side hears is sent as an RTP event. */
export function keyTone(key) {
  const at = '123456789*0#'.indexOf(key);
  if (at < 0) return;
  sound([ROWS[Math.floor(at / 3)], COLUMNS[at % 3]], { gain: 0.04, seconds: 0.1, fade: 0.015 });
}

function sound(hertz, { gain, seconds, fade }) {
  const audio = audioContext();
  const volume = audio.createGain();
  volume.gain.value = gain;
  volume.gain.setTargetAtTime(0, audio.currentTime + seconds, fade);
  volume.connect(audio.destination);
  for (const pitch of hertz) {
    const tone = audio.createOscillator();
    tone.frequency.value = pitch;
    tone.connect(volume);
    tone.start();
    tone.stop(audio.currentTime + seconds + 6 * fade);
  }
}
