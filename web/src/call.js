// One call: a session of JsSIP, told in plain words. Calls know nothing of each other; phone.js does.
import JsSIP from 'jssip';
import { answeredElsewhere, callFailure, endReason, transferFailure } from './reasons.js';

/** How long a call waits for the browser's addresses when none has come yet that would do. */
const GATHERING_MS = 500;
/** JsSIP changes nothing while another change is being settled. */
const TRY_AGAIN_MS = 100;
const INTERRUPTED = {
  disconnected: 'The sound is interrupted; waiting for the network…',
  failed: 'No way for the sound was found between your browser and the gateway.',
};

const delay = ms => new Promise(resolve => setTimeout(resolve, ms));

export class Call {
  /** starting, calling, ringing, incoming, answering, returning, talking, over */
  state;
  held = false;
  muted = false;
  /** When it was answered, in milliseconds since 1970. */
  since = null;
  /** A transfer that is under way: {to, ringing}. */
  transfer = null;
  /** The call that this one was made to ask about. */
  consultFor = null;
  /** Words for why it could not be, when that is known before its session ends. */
  reason = null;
  local = null;
  /** What is to be done once it is answered. */
  onBack = null;
  #session;
  #request;
  #dialog;
  #tell;
  #changes = Promise.resolve();

  /** `tell(event, detail)`: changed, ringing {early}, answered, streams, key {key}, trouble {reason}, over {reason, missed, ours, elsewhere}. */
  constructor({ id, who, number, incoming, state }, tell) {
    Object.assign(this, { id, who, number, incoming, state, started: Date.now() });
    this.#tell = (event, detail = {}) => tell(event, detail);
  }

  get established() { return this.state === 'talking'; }

  /** What a page shows of it. */
  view() {
    const { id, who, number, incoming, started, state, held, muted, since, transfer, consultFor } = this;
    return { id, who, number, incoming, started, state, held, muted, since, transfer, consultFor };
  }

  /** What a page that is loaded anew needs to come back. */
  ticket() {
    const { who, number, incoming, since, held, muted } = this;
    return { who, number, incoming, since, held, muted, dialog: this.#dialog };
  }

  attach(session, request) {
    this.#session = session;
    this.#request = request;
    session.on('progress', ({ originator, response }) => {
      if (originator !== 'remote' || this.state === 'returning') return;
      this.state = 'ringing';
      this.#tell('ringing', { early: Boolean(response?.body) });
      this.#tell('changed');
    });
    session.on('accepted', ({ response }) => this.#accepted(response));
    for (const event of ['hold', 'unhold']) {
      session.on(event, () => {
        this.held = session.isOnHold().local;
        this.#tell('changed');
      });
    }
    session.on('newDTMF', ({ originator, dtmf }) => originator === 'remote' && this.#tell('key', { key: dtmf.tone }));
    session.on('ended', ({ originator, cause, message }) => {
      if (originator === 'local' && cause === JsSIP.C.causes.BYE) return this.end({ reason: this.reason });
      const said = cause === JsSIP.C.causes.BYE ? endReason(message?.getHeader('Reason')) : callFailure({ cause });
      return this.end({ reason: this.reason ?? said });
    });
    session.on('failed', ({ originator, message, cause }) => this.#failed(originator, message, cause));
    let waiting;
    session.on('icecandidate', ({ candidate, ready }) => {
      // The gateway finds us by our connectivity checks, so that one address is enough; gathering may take very long.
      if (candidate.type === 'host') ready();
      else waiting ??= setTimeout(ready, GATHERING_MS);
    });
    if (session.connection) this.#onConnection(session.connection);
    else session.on('peerconnection', ({ peerconnection }) => this.#onConnection(peerconnection));
  }

  #accepted(response) {
    // From each side's own point of view: the Replaces of a page that is loaded anew names the gateway's tag first.
    const { call_id, from_tag, to_tag } = response ?? this.#request;
    this.#dialog = response ? { id: call_id, local: from_tag, remote: to_tag } : { id: call_id, local: to_tag, remote: from_tag };
    this.since ??= Date.now();
    this.state = 'talking';
    this.#tell('answered');
    this.#tell('changed');
  }

  #failed(originator, message, cause) {
    const byUs = originator === 'local';
    const status = message?.status_code;
    if (this.state === 'returning') {
      const reason = status === 481 ? `Your call with ${this.who} has ended meanwhile.` : callFailure({ cause, status, byUs });
      return this.end({ reason: this.reason ?? reason, ours: true });
    }
    const elsewhere = this.incoming && answeredElsewhere(message?.getHeader?.('Reason'));
    if (elsewhere) return this.end({ reason: null, elsewhere });
    const failure = this.incoming && byUs ? null : callFailure({ cause, status, byUs });
    return this.end({ reason: this.reason ?? failure, missed: this.incoming && !byUs, ours: Boolean(this.reason) });
  }

  #onConnection(connection) {
    connection.addEventListener('track', () => this.#tell('streams'));
    connection.addEventListener('iceconnectionstatechange', () => {
      const state = connection.iceConnectionState;
      if (state in INTERRUPTED) this.#tell('trouble', { reason: INTERRUPTED[state] });
      else if (state === 'connected') this.#tell('trouble', { reason: null });
    });
  }

  get remote() {
    const tracks = this.#session?.connection?.getReceivers().map(receiver => receiver.track) ?? [];
    return tracks.length ? new MediaStream(tracks) : undefined;
  }

  answer(options) {
    this.#session.answer(options);
    this.#tell('streams');
  }

  /** Over, whichever way; `reason` are words, or null when nobody needs to be told. */
  end({ reason = null, missed = false, ours = false, elsewhere = false }) {
    if (this.state === 'over') return;
    this.state = 'over';
    for (const track of this.local?.getTracks() ?? []) track.stop();
    this.#tell('over', { reason, missed, ours, elsewhere });
  }

  hangUp(status = 486) {
    const session = this.#session;
    if (!session) return this.end({ reason: this.reason });
    if (!session.isEnded()) session.terminate(this.incoming && !session.isEstablished() ? { status_code: status } : {});
  }

  /** Resolves when the other side has agreed, or the call is over. */
  hold(yes) {
    this.#changes = this.#changes.then(() => this.#hold(yes));
    return this.#changes;
  }

  async #hold(yes) {
    const session = this.#session;
    while (this.established && session.isOnHold().local !== yes) {
      let agreed;
      const done = new Promise(resolve => {
        agreed = resolve;
        session.on('ended', resolve);
      });
      if (yes ? session.hold({}, agreed) : session.unhold({}, agreed)) return done;
      await delay(TRY_AGAIN_MS);
    }
  }

  mute(yes) {
    this.muted = yes;
    if (yes) this.#session.mute({ audio: true });
    else this.#session.unmute({ audio: true });
    this.#tell('changed');
  }

  press(key) {
    this.#session.sendDTMF(key, { transportType: JsSIP.C.DTMF_TRANSPORT.RFC2833, interToneGap: 70 });
  }

  /** Transfers to a number, or into another call. Gives null, or words for why not and whether anything had happened yet. */
  refer(to, number, other) {
    this.transfer = { to, ringing: false };
    this.#tell('changed');
    return new Promise(resolve => {
      const over = result => {
        this.transfer = null;
        if (this.established) this.#tell('changed');
        resolve(result);
      };
      const failed = (status, cause, begun) => over({ reason: transferFailure({ status, cause, to }), begun });
      const eventHandlers = {
        requestFailed: ({ response, cause }) => failed(response?.status_code, cause, false),
        progress: () => {
          this.transfer = { to, ringing: true };
          this.#tell('changed');
        },
        accepted: () => over(null),
        failed: ({ status_line }) => failed(status_line.status_code, undefined, true),
      };
      this.#session.on('ended', () => resolve(null));
      try {
        this.#session.refer(number, { eventHandlers, ...(other && { replaces: other.#asReplaces() }) });
      } catch {
        over({ reason: `${number} is no name or number`, begun: false });
      }
    });
  }

  /** JsSIP writes Replaces from its own session, with the tags of one that called; one that was called has them the other way. */
  #asReplaces() {
    const { id, local, remote } = this.#dialog;
    return { _request: { call_id: id }, _to_tag: remote, _from_tag: local };
  }
}

/** The header by which a call of a page that is loaded anew takes the place of the one before (RFC 3891). */
export const replaces = ({ id, local, remote }) => `Replaces: ${id};to-tag=${remote};from-tag=${local}`;
