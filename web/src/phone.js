// The telephone behind the page: JsSIP, with one call at a time, told as a few plain events.
//
//   registration  {state: 'connecting' | 'registered' | 'lost' | 'refused', reason?}
//   incoming      {who, number}
//   ringing       {early}             the other side rings; early: it sends its own ringing tone
//   answered      {}
//   streams       {local, remote}     what meters and the loudspeaker are to have; said again when one of them comes later
//   trouble       {reason} | {}       audio stopped or came back in mid-call
//   over          {reason, missed, ours}  reason: words, or null when there is nothing to explain; ours: it lies with this
//                                     browser, not with whom it called
import JsSIP from 'jssip';
import { callFailure, microphoneFailure, signInFailure } from './reasons.js';

const MICROPHONE = { audio: { echoCancellation: true, noiseSuppression: true, autoGainControl: true }, video: false };
/** How long a call waits for the browser's addresses when none has come yet that would do. */
const GATHERING_MS = 500;
const REGISTER_AGAIN_MS = 10_000;

export class Phone {
  #listener;
  #ua;
  #session;
  #local;
  #registered = false;
  #again;
  #dialling;

  /** `listener(event, detail)` is told of everything that happens. */
  constructor(listener) {
    this.#listener = listener;
  }

  signIn({ name, password, domain, websocketUrl }) {
    this.signOut();
    const ua = new JsSIP.UA({
      sockets: [new JsSIP.WebSocketInterface(websocketUrl)],
      uri: `sip:${name}@${domain}`,
      password,
      connection_recovery_min_interval: 1,
      connection_recovery_max_interval: 10,
      user_agent: 'Ringway page',
    });
    this.#ua = ua;
    const tell = (state, reason) => ua === this.#ua && this.#listener('registration', { state, reason });
    ua.on('connecting', () => this.#registered || tell('connecting'));
    ua.on('registered', () => {
      this.#registered = true;
      tell('registered');
    });
    ua.on('disconnected', () => tell('lost'));
    ua.on('registrationFailed', ({ cause, response }) => {
      if (cause === JsSIP.C.causes.CONNECTION_ERROR) return tell('lost');
      const reason = signInFailure({ cause, status: response?.status_code });
      // Once registered, the name and the password were right: then it is the gateway's trouble, and it will pass.
      if (!this.#registered) return tell('refused', reason);
      clearTimeout(this.#again);
      this.#again = setTimeout(() => ua === this.#ua && ua.register(), REGISTER_AGAIN_MS);
      return tell('lost', reason);
    });
    ua.on('newRTCSession', ({ session, originator }) => this.#onSession(session, originator));
    ua.start();
  }

  signOut() {
    const ua = this.#ua;
    clearTimeout(this.#again);
    this.#ua = undefined;
    this.#registered = false;
    // Ends the call and the registration, too.
    ua?.stop();
  }

  async call(number) {
    const attempt = {};
    this.#dialling = attempt;
    const microphone = await this.#openMicrophone();
    // Hung up while the browser asked for the microphone.
    if (attempt !== this.#dialling) return this.#closeMicrophone();
    if (!microphone) return;
    try {
      this.#ua.call(number, this.#media(microphone));
    } catch {
      this.#end({ reason: 'This is no name or number that can be called.', ours: true });
    }
  }

  async answer() {
    const session = this.#session;
    const microphone = await this.#openMicrophone();
    // Meanwhile the caller may have given up.
    if (session !== this.#session) return this.#closeMicrophone();
    if (!microphone) return session.terminate({ status_code: 480 });
    session.answer(this.#media(microphone));
    this.#tellStreams();
  }

  hangUp() {
    const session = this.#session;
    if (!session) return this.#end({ reason: null });
    if (!session.isEnded()) session.terminate(session.direction === 'incoming' && !session.isEstablished() ? { status_code: 486 } : {});
  }

  mute(yes) {
    if (yes) this.#session?.mute({ audio: true });
    else this.#session?.unmute({ audio: true });
  }

  digit(key) {
    this.#session?.sendDTMF(key, { transportType: JsSIP.C.DTMF_TRANSPORT.RFC2833 });
  }

  #media(mediaStream) {
    return { mediaStream, mediaConstraints: { audio: true, video: false }, pcConfig: { iceServers: [] } };
  }

  async #openMicrophone() {
    try {
      this.#local = await navigator.mediaDevices.getUserMedia(MICROPHONE);
      return this.#local;
    } catch (error) {
      const reason = microphoneFailure(error);
      if (this.#session) this.#session.data.reason = reason;
      else if (this.#dialling) this.#end({ reason, ours: true });
      return null;
    }
  }

  #closeMicrophone() {
    for (const track of this.#local?.getTracks() ?? []) track.stop();
    this.#local = undefined;
  }

  #onSession(session, originator) {
    const incoming = originator === 'remote';
    if (this.#session) return session.terminate({ status_code: 486 });
    this.#session = session;
    session.on('progress', ({ originator, response }) => {
      if (originator === 'remote') this.#listener('ringing', { early: Boolean(response?.body) });
    });
    session.on('accepted', () => this.#listener('answered', {}));
    session.on('ended', ({ originator, cause }) => {
      const reason = originator === 'local' || cause === JsSIP.C.causes.BYE ? null : callFailure({ cause });
      this.#end({ reason });
    });
    session.on('failed', ({ originator, message, cause }) => {
      const byUs = originator === 'local';
      const ours = Boolean(session.data.reason);
      const failure = incoming && byUs ? null : callFailure({ cause, status: message?.status_code, byUs });
      this.#end({ reason: session.data.reason ?? failure, missed: incoming && !byUs, ours });
    });
    session.on('icecandidate', ({ candidate, ready }) => {
      // The gateway finds us by our connectivity checks, so that one address is enough; gathering may take very long.
      if (session.data.ready) return;
      if (candidate.type === 'host') {
        session.data.ready = true;
        ready();
      } else {
        session.data.waiting ??= setTimeout(ready, GATHERING_MS);
      }
    });
    if (session.connection) this.#onConnection(session.connection);
    else session.on('peerconnection', ({ peerconnection }) => this.#onConnection(peerconnection));
    if (incoming) {
      const { display_name, uri } = session.remote_identity;
      this.#listener('incoming', { who: display_name || uri.user, number: uri.user });
    }
  }

  #onConnection(connection) {
    connection.addEventListener('track', () => this.#tellStreams());
    connection.addEventListener('iceconnectionstatechange', () => {
      const reasons = {
        disconnected: 'The sound is interrupted; waiting for the network…',
        failed: 'No way for the sound was found between your browser and the gateway.',
      };
      const state = connection.iceConnectionState;
      if (state in reasons) this.#listener('trouble', { reason: reasons[state] });
      else if (state === 'connected') this.#listener('trouble', {});
    });
  }

  #tellStreams() {
    const tracks = this.#session?.connection?.getReceivers().map(receiver => receiver.track) ?? [];
    this.#listener('streams', { local: this.#local, remote: tracks.length ? new MediaStream(tracks) : undefined });
  }

  #end({ reason, missed = false, ours = false }) {
    this.#dialling = undefined;
    this.#session = undefined;
    this.#closeMicrophone();
    this.#listener('over', { reason, missed, ours });
  }
}
