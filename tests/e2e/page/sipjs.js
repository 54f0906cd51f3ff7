// Unmodified SIP.js behind the same words as jssip.js.
import { Inviter, Registerer, RegistererState, SessionState, UserAgent } from 'sip.js';
import { MICROPHONE, record, recording } from './recorder.js';

const events = [];
const tell = (type, detail = '') => events.push(`${type} ${detail}`.trim());
let agent;
let session;
let cancelled = false;

const options = { sessionDescriptionHandlerOptions: { constraints: MICROPHONE, iceGatheringTimeout: 500 } };

function listen() {
  const { peerConnection } = session.sessionDescriptionHandler;
  record(new MediaStream(peerConnection.getReceivers().map(receiver => receiver.track)));
}

function watch(next) {
  session = next;
  cancelled = false;
  session.delegate = {
    onInfo(info) {
      info.accept();
      tell('key', info.request.body.match(/Signal=\s*(\S)/)?.[1]);
    },
  };
  session.stateChange.addListener(state => {
    if (state === SessionState.Established) {
      listen();
      tell('accepted');
      tell('confirmed');
    }
    if (state === SessionState.Terminated) tell('ended');
  });
}

async function reinvite(hold) {
  session.sessionDescriptionHandlerOptionsReInvite = { hold };
  await session.invite({ requestDelegate: {
    onAccept: () => tell(hold ? 'held' : 'resumed'),
    onReject: ({ message }) => tell('re-INVITE refused', message.statusCode),
  } });
}

window.peer = {
  events: () => events,
  forget: () => { events.length = 0; },
  recording,
  listen,
  async start({ url, name, password, domain }) {
    agent = new UserAgent({
      uri: UserAgent.makeURI(`sip:${name}@${domain}`),
      authorizationUsername: name,
      authorizationPassword: password,
      transportOptions: { server: url },
      logLevel: 'error',
      sessionDescriptionHandlerFactoryOptions: { peerConnectionConfiguration: { iceServers: [] } },
      delegate: {
        onInvite(invitation) {
          watch(invitation);
          tell('incoming', invitation.remoteIdentity.uri.user);
        },
        onDisconnect: () => tell('disconnected'),
      },
    });
    await agent.start();
    const registerer = new Registerer(agent, { expires: 300 });
    registerer.stateChange.addListener(state => state === RegistererState.Registered && tell('registered'));
    await registerer.register({ requestDelegate: { onReject: ({ message }) => tell('refused', message.statusCode) } });
  },
  call({ number }) {
    watch(new Inviter(agent, UserAgent.makeURI(`sip:${number}@${agent.configuration.uri.host}`), options));
    session.invite({ requestDelegate: {
      onProgress: ({ message }) => message.statusCode > 100 && tell('ringing', message.statusCode),
      onReject: ({ message }) => tell('failed', `remote ${message.statusCode}`),
    } });
  },
  answer: () => session.accept(options),
  decline: () => session.reject(),
  hangUp() {
    if (session.state === SessionState.Established) return session.bye();
    cancelled = true;
    return session instanceof Inviter ? session.cancel() : session.reject();
  },
  // As its own SimpleUser does it.
  hold: () => reinvite(true),
  resume: () => reinvite(false),
  async keys({ text, way }) {
    if (way === 'RFC2833') return void session.sessionDescriptionHandler.sendDtmf(text, { duration: 120, interToneGap: 200 });
    for (const key of text) {
      const content = `Signal=${key}\r\nDuration=120`;
      await session.info({ requestOptions: { body: { contentDisposition: 'render', contentType: 'application/dtmf-relay', content } } });
    }
  },
  stop: () => agent.stop(),
};
