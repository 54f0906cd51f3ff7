// Unmodified JsSIP behind the few words that the tests use; sipjs.js has the same.
import JsSIP from 'jssip';
import { MICROPHONE, record, recording } from './recorder.js';

const events = [];
const tell = (type, detail = '') => events.push(`${type} ${detail}`.trim());
let ua;
let session;
let hidden = false;

function media(options) {
  return { mediaConstraints: MICROPHONE, pcConfig: { iceServers: [], ...options?.pcConfig }, rtcOfferConstraints: {} };
}

function watch(next) {
  session = next;
  session.on('progress', ({ originator, response }) => originator === 'remote' && tell('ringing', response.status_code));
  session.on('accepted', () => tell('accepted'));
  session.on('confirmed', () => tell('confirmed'));
  session.on('ended', ({ originator, cause }) => tell('ended', `${originator} ${cause}`));
  session.on('failed', ({ originator, message, cause }) => tell('failed', `${originator} ${message?.status_code ?? ''} ${cause}`));
  const onConnection = connection => connection.addEventListener('track', ({ track }) => record(new MediaStream([track])));
  if (session.connection) onConnection(session.connection);
  else session.on('peerconnection', ({ peerconnection }) => onConnection(peerconnection));
  // One address is enough for the gateway; gathering may take long.
  session.on('sdp', event => {
    if (hidden && event.originator === 'local') event.sdp = event.sdp.replace(/a=candidate:.*\r\n/g, '');
  });
  session.on('icecandidate', ({ candidate, ready }) => candidate.type === 'host' && ready());
}

window.peer = {
  events: () => events,
  forget: () => { events.length = 0; },
  recording,
  start({ url, name, password, domain }) {
    const socket = new JsSIP.WebSocketInterface(url);
    ua = new JsSIP.UA({ sockets: [socket], uri: `sip:${name}@${domain}`, password, register_expires: 300 });
    ua.on('registered', () => tell('registered'));
    ua.on('registrationFailed', ({ response, cause }) => tell('refused', `${response?.status_code ?? ''} ${cause}`));
    ua.on('disconnected', () => tell('disconnected'));
    ua.on('newRTCSession', ({ session: next, originator }) => {
      watch(next);
      if (originator === 'remote') tell('incoming', next.remote_identity.uri.user);
    });
    ua.start();
  },
  call: number => void ua.call(number, media()),
  answer: () => session.answer(media()),
  decline: status => session.terminate({ status_code: status }),
  hangUp: () => session.terminate(),
  digits: text => session.sendDTMF(text, { transportType: 'RFC2833', duration: 120, interToneGap: 200 }),
  /** From now on, no candidate is named: as a page whose addresses are mDNS names that nobody can look up. */
  hideAddresses: () => { hidden = true; },
  /** What the browser says of its DTLS and SRTP. */
  async transport() {
    const stats = [...(await session.connection.getStats()).values()];
    const { dtlsState, tlsVersion, srtpCipher } = stats.find(({ type }) => type === 'transport') ?? {};
    return { dtlsState, tlsVersion, srtpCipher };
  },
  stop: () => ua.stop(),
};
