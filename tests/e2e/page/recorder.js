// In the browser: the microphone, and a recording of what is heard.
export const MICROPHONE = { audio: { echoCancellation: false, noiseSuppression: false, autoGainControl: false }, video: false };

let stop;

/** Records `stream` from now on; recording() gives its samples. */
export function record(stream) {
  stop?.();
  // A remote stream makes no sound in Web Audio unless an element plays it, too.
  const element = Object.assign(new Audio(), { srcObject: stream, muted: true });
  element.play().catch(() => {});
  // Firefox runs no AudioContext on a machine without a sound card, but it records.
  stop = navigator.userAgent.includes('Firefox') ? byRecorder(stream) : byContext(stream);
}

function byContext(stream) {
  const context = new AudioContext();
  const node = context.createScriptProcessor(4096, 1, 1);
  const chunks = [];
  node.onaudioprocess = event => chunks.push(event.inputBuffer.getChannelData(0).slice());
  context.createMediaStreamSource(stream).connect(node);
  node.connect(context.destination);
  return async () => {
    node.disconnect();
    await context.close();
    const samples = new Float32Array(chunks.length * 4096);
    chunks.forEach((chunk, at) => samples.set(chunk, at * 4096));
    return { rate: context.sampleRate, samples };
  };
}

function byRecorder(stream) {
  const recorder = new MediaRecorder(stream, { audioBitsPerSecond: 256_000 });
  const blobs = [];
  recorder.ondataavailable = ({ data }) => blobs.push(data);
  recorder.start();
  return async () => {
    const stopped = new Promise(resolve => { recorder.onstop = resolve; });
    recorder.stop();
    await stopped;
    const encoded = await new Blob(blobs).arrayBuffer();
    const decoded = await new OfflineAudioContext(1, 48_000, 48_000).decodeAudioData(encoded);
    return { rate: decoded.sampleRate, samples: decoded.getChannelData(0) };
  };
}

/** Ends the recording: 16-bit samples in base64, and their rate. */
export async function recording() {
  if (!stop) throw new Error('nothing was ever heard: no track came');
  const { rate, samples } = await stop();
  stop = undefined;
  const bytes = new Uint8Array(Int16Array.from(samples, sample => Math.max(-1, Math.min(1, sample)) * 32767).buffer);
  let text = '';
  for (let at = 0; at < bytes.length; at += 8192) text += String.fromCharCode(...bytes.subarray(at, at + 8192));
  return { rate, base64: btoa(text) };
}
