// The telephone behind the page: JsSIP, up to three calls of which one at most is not on hold, told as a few plain events.
//
//   registration  {state: 'connecting' | 'registered' | 'lost' | 'refused', reason?}
//   calls         {calls, current}    all calls as Call.view() gives them, whenever one of them changes; the current one's id
//   ringing       {id, early}         the other side rings; early: it sends its own ringing tone
//   incoming      {call}              somebody calls
//   streams       {local, remote}     the current call's, for meters and the loudspeaker
//   key           {call, key}         the other side pressed a key
//   trouble       {reason}            audio stopped; null: it came back
//   told          {words}             what became of something that was asked for
//   over          {call, reason, missed, ours, elsewhere, said}  reason: words, or null when there is nothing to explain; ours: it
//                                     lies with this browser, not with whom it called; elsewhere: another device answered;
//                                     said: the words were told already
//   message       {who, number, text, sent}  somebody wrote
//   presence      {number, open, words}  whether one who is watched is there; words for what they are doing, if they say so
import JsSIP from 'jssip';
import { Call, replaces } from './call.js';
import { messageFailure, microphoneFailure, signInFailure } from './reasons.js';
import { Watch } from './watch.js';

const MICROPHONE = { audio: { echoCancellation: true, noiseSuppression: true, autoGainControl: true }, video: false };
const REGISTER_AGAIN_MS = 10_000;
const MOST_CALLS = 3;

export class Phone {
  #listener;
  #ua;
  #calls = new Map();
  #ids = 0;
  #current = null;
  #microphone;
  #registered = false;
  #again;
  #returning = [];
  #watch;

  /** `listener(event, detail)` is told of everything that happens. */
  constructor(listener) {
    this.#listener = listener;
  }

  /** `instance` names this tab to the gateway, `tickets` are calls to come back into: see leave(). */
  signIn({ name, password, domain, websocketUrl, instance, tickets = [] }) {
    this.signOut();
    const ua = new JsSIP.UA({
      sockets: [new JsSIP.WebSocketInterface(websocketUrl)],
      uri: `sip:${name}@${domain}`,
      password,
      instance_id: instance,
      // Well within the time for which a call waits for its browser.
      connection_recovery_min_interval: 1,
      connection_recovery_max_interval: 4,
      // JsSIP ends a call whose refresh meets a lost connection. The gateway knows by itself who is gone.
      session_timers: false,
      user_agent: 'Ringway page',
    });
    this.#ua = ua;
    this.#returning = tickets.map(ticket => this.#newCall({ ...ticket, state: 'returning' }, ticket));
    this.#changed();
    const tell = (state, reason) => ua === this.#ua && this.#listener('registration', { state, reason });
    ua.on('connecting', () => this.#registered || tell('connecting'));
    this.#watch = new Watch(ua, domain, presence => this.#listener('presence', presence));
    ua.on('registered', () => {
      this.#registered = true;
      this.#watch.refresh();
      tell('registered');
      for (const { call, dialog } of this.#returning.splice(0)) this.#comeBack(call, dialog);
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
    ua.on('newRTCSession', ({ session, originator, request }) => originator === 'remote' && this.#onIncoming(session, request));
    ua.on('newMessage', ({ originator, message, request }) => originator === 'remote' && this.#onMessage(message, request));
    ua.start();
  }

  signOut() {
    const ua = this.#ua;
    clearTimeout(this.#again);
    this.#ua = undefined;
    this.#registered = false;
    // Ends the calls and the registration, too.
    ua?.stop();
    for (const call of this.#calls.values()) call.end({});
  }

  /** The page is being left, perhaps only to be loaded anew: gives a ticket for each call that waits for it. */
  leave() {
    const standing = [...this.#calls.values()].filter(call => call.established);
    if (!standing.length) {
      this.signOut();
      return [];
    }
    for (const call of this.#calls.values()) if (!call.established) call.hangUp(480);
    return standing.map(call => call.ticket());
  }

  // --- messages ---

  /** Gives what became of it: {state: 'delivered' | 'kept' | 'failed', reason?}. */
  write(to, text) {
    return new Promise(resolve => {
      const eventHandlers = {
        succeeded: ({ response }) => resolve({ state: response.status_code === 202 ? 'kept' : 'delivered' }),
        failed: ({ response, cause }) => resolve({ state: 'failed', reason: messageFailure({ cause, status: response?.status_code }) }),
      };
      try {
        this.#ua.sendMessage(to, text, { contentType: 'text/plain', eventHandlers });
      } catch {
        resolve({ state: 'failed', reason: 'this is no name or number' });
      }
    });
  }

  /** Whose presence is to be told from now on. */
  watch(numbers) {
    this.#watch?.set(numbers);
  }

  #onMessage(message, request) {
    const type = request.getHeader('Content-Type') ?? '';
    if (!/^text\/plain\b/i.test(type)) return message.reject({ status_code: 415 });
    const { display_name, uri } = message.remote_identity;
    const number = decodeURIComponent(uri.user);
    // One that was kept comes later than it was sent.
    const sent = Date.parse(request.getHeader('Date')) || Date.now();
    this.#listener('message', { who: display_name || number, number, text: request.body, sent });
  }

  // --- calls ---

  /** Calls; all others are put on hold. `consultFor` is the call that waits for what comes of it. */
  async call(number, { consultFor = null } = {}) {
    if (this.#calls.size >= MOST_CALLS) return this.#told(`You have ${MOST_CALLS} calls already. End one first.`);
    const { call } = this.#newCall({ who: number, number, incoming: false, state: 'starting' });
    call.consultFor = consultFor;
    this.#setCurrent(call);
    await this.#quieten(call);
    if (!(await this.#takeMicrophone(call))) return;
    call.state = 'calling';
    this.#dial(call, []);
    this.#changed();
  }

  async answer(id) {
    const call = this.#calls.get(id);
    if (call?.state !== 'incoming') return;
    call.state = 'answering';
    this.#setCurrent(call);
    await this.#quieten(call);
    if (!(await this.#takeMicrophone(call))) return;
    call.answer(this.#media(call));
  }

  hangUp(id) {
    this.#calls.get(id)?.hangUp();
  }

  hold(id) {
    return this.#calls.get(id)?.hold(true);
  }

  /** Talks to this one; all others are put on hold. */
  async resume(id) {
    const call = this.#calls.get(id);
    if (!call?.established) return;
    this.#setCurrent(call);
    await this.#quieten(call);
    await call.hold(false);
  }

  mute(id, yes) {
    this.#calls.get(id)?.mute(yes);
  }

  press(id, key) {
    this.#calls.get(id)?.press(key);
  }

  /** Transfers at once. */
  async transfer(id, number) {
    const call = this.#calls.get(id);
    if (!call?.established) return;
    const failure = await call.refer(number, number);
    this.#transferred(call, failure, `${call.who} is talking to ${number} now.`);
  }

  /** Asks first: a second call, while the first is on hold. */
  ask(id, number) {
    return this.call(number, { consultFor: id });
  }

  /** Joins two calls, and leaves both. */
  async connect(id, otherId) {
    const [call, other] = [this.#calls.get(id), this.#calls.get(otherId)];
    if (!call?.established || !other?.established) return;
    const { consultFor } = other;
    // The gateway ends the second call as it joins them: that is no reason to go back to the first.
    other.consultFor = null;
    const failure = await call.refer(other.who, other.number, other);
    if (failure) other.consultFor = consultFor;
    else other.hangUp();
    this.#transferred(call, failure, `${call.who} and ${other.who} are talking to each other now.`);
  }

  #transferred(call, failure, words) {
    if (call.state === 'over') return;
    if (failure) return this.#told(`${failure.reason} – you are ${failure.begun ? `talking to ${call.who} again` : `still talking to ${call.who}`}.`);
    call.hangUp();
    this.#told(words);
  }

  #newCall(about, ticket) {
    const call = new Call({ ...about, id: String(++this.#ids) }, (event, detail) => this.#onCall(call, event, detail));
    if (ticket) Object.assign(call, { since: ticket.since, held: ticket.held, muted: ticket.muted });
    this.#calls.set(call.id, call);
    if (ticket && !ticket.held) this.#current = call.id;
    this.#current ??= call.id;
    return { call, dialog: ticket?.dialog };
  }

  /** All that are talked to, except one, go on hold. A call that is only being made cannot wait: it is given up. */
  async #quieten(except) {
    const others = [...this.#calls.values()].filter(call => call !== except);
    for (const call of others) if (['starting', 'calling', 'ringing'].includes(call.state)) call.hangUp();
    await Promise.all(others.filter(call => call.established).map(call => call.hold(true)));
  }

  #dial(call, extraHeaders) {
    try {
      call.attach(this.#ua.call(call.number, { ...this.#media(call), extraHeaders }));
    } catch {
      call.end({ reason: 'This is no name or number that can be called.', ours: true });
    }
  }

  async #comeBack(call, dialog) {
    const { held, muted } = call;
    if (!(await this.#takeMicrophone(call))) return;
    // Who waits on hold, or is not to hear, hears nothing in between either.
    for (const track of call.local.getTracks()) track.enabled = !held && !muted;
    this.#dial(call, [replaces(dialog)]);
    call.onBack = () => {
      if (held) call.hold(true);
      if (muted) call.mute(true);
      this.#told(`Back in your call with ${call.who}.`);
    };
  }

  #onIncoming(session, request) {
    if (this.#calls.size >= MOST_CALLS) return session.terminate({ status_code: 486 });
    const { display_name, uri } = session.remote_identity;
    const { call } = this.#newCall({ who: display_name || uri.user, number: uri.user, incoming: true, state: 'incoming' });
    call.attach(session, request);
    this.#changed();
    this.#listener('incoming', { call: call.view() });
  }

  #onCall(call, event, detail) {
    switch (event) {
      case 'changed':
        return this.#changed();
      case 'streams':
        return this.#tellStreams();
      case 'ringing':
        return this.#listener('ringing', { id: call.id, ...detail });
      case 'key':
        return this.#listener('key', { call: call.view(), ...detail });
      case 'answered':
        call.onBack?.();
        return this.#tellStreams();
      case 'trouble':
        return this.#listener('trouble', detail);
      case 'over':
        return this.#onOver(call, detail);
    }
  }

  #onOver(call, detail) {
    this.#calls.delete(call.id);
    const waiting = this.#calls.get(call.consultFor);
    if (this.#current === call.id) {
      const rest = [...this.#calls.values()];
      this.#current = (waiting ?? rest.find(other => other.established) ?? rest[0])?.id ?? null;
    }
    if (!this.#calls.size) this.#closeMicrophone();
    const view = call.view();
    // Whom one wanted to ask does not want to, or has hung up: back to the one who waits.
    if (waiting?.established) {
      if (detail.reason) this.#told(`${call.who}: ${detail.reason.replace(/\.$/, '')} – you are talking to ${waiting.who} again.`);
      detail = { ...detail, said: true };
      this.resume(waiting.id);
    }
    this.#listener('over', { call: view, ...detail });
    this.#changed();
    this.#tellStreams();
  }

  #setCurrent(call) {
    this.#current = call.id;
    this.#changed();
    this.#tellStreams();
  }

  #changed() {
    this.#listener('calls', { calls: [...this.#calls.values()].map(call => call.view()), current: this.#current });
  }

  #tellStreams() {
    const call = this.#calls.get(this.#current);
    this.#listener('streams', { local: call?.local ?? undefined, remote: call?.remote });
  }

  #told(words) {
    this.#listener('told', { words });
  }

  // --- the microphone: opened once for all calls, each of which has tracks of its own to mute ---

  #media(call) {
    return { mediaStream: call.local, mediaConstraints: { audio: true, video: false }, pcConfig: { iceServers: [] } };
  }

  /** False: there is none, or the call was given up meanwhile; then it is over. */
  async #takeMicrophone(call) {
    try {
      this.#microphone ??= navigator.mediaDevices.getUserMedia(MICROPHONE);
      const microphone = await this.#microphone;
      if (call.state === 'over') {
        if (!this.#calls.size) this.#closeMicrophone();
        return false;
      }
      call.local = microphone.clone();
      return true;
    } catch (error) {
      this.#microphone = undefined;
      call.reason = microphoneFailure(error);
      call.hangUp(480);
      return false;
    }
  }

  async #closeMicrophone() {
    const microphone = this.#microphone;
    this.#microphone = undefined;
    for (const track of (await microphone)?.getTracks() ?? []) track.stop();
  }
}
