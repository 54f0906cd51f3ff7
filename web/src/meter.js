// A level meter for one side of a call.
import { audioContext } from './sounds.js';

/** Shows the level of `stream` in `element` until the returned function is called. */
export function meter(element, stream) {
  const audio = audioContext();
  const analyser = audio.createAnalyser();
  analyser.fftSize = 1024;
  const source = audio.createMediaStreamSource(stream);
  source.connect(analyser);
  const samples = new Float32Array(analyser.fftSize);
  let shown = 0;
  let spoken = 0;
  let frame = requestAnimationFrame(function draw(now) {
    analyser.getFloatTimeDomainData(samples);
    const power = samples.reduce((sum, sample) => sum + sample * sample, 0) / samples.length;
    // -60 dB is nothing, -6 dB is all.
    const decibels = 10 * Math.log10(power + 1e-12);
    const level = Math.min(1, Math.max(0, (decibels + 60) / 54));
    // Up at once, down slowly, as an eye likes it.
    shown = Math.max(level, shown * 0.92);
    element.firstElementChild.style.setProperty('--level', shown.toFixed(3));
    if (now - spoken > 250) {
      spoken = now;
      element.setAttribute('aria-valuenow', Math.round(shown * 100));
    }
    frame = requestAnimationFrame(draw);
  });
  return () => {
    cancelAnimationFrame(frame);
    source.disconnect();
    element.firstElementChild.style.setProperty('--level', '0');
    element.removeAttribute('aria-valuenow');
  };
}
