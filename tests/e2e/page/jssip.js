// Unmodified JsSIP behind the few words that the tests use; sipjs.js has the same.
import JsSIP from 'jssip';
import { MICROPHONE, record, recording } from './recorder.js';

const events = [];
const tell = (type, detail = '') => events.push(`${type} ${detail}`.trim());
let ua;
let domain;
let socket;
/** The latest call, and the one before it while that one lasts. */
let session;
let sessions = [];
let hidden = false;
/** Ports of the gateway's media, and those of a relay in their place. */
let relayed = {};

const reasonOf = message => message?.getHeader?.('Reason') ?? '';

function media(options) {
  return { mediaConstraints: MICROPHONE, pcConfig: { iceServers: [], ...options?.pcConfig }, rtcOfferConstraints: {} };
}

function watch(next) {
  session = next;
  sessions.push(next);
  const over = () => { sessions = sessions.filter(one => one !== next); };
  next.on('progress', ({ originator, response }) => originator === 'remote' && tell('ringing', `${response.status_code}${response.body ? ' with SDP' : ''}`));
  next.on('accepted', () => tell('accepted'));
  next.on('confirmed', () => tell('confirmed'));
  next.on('ended', ({ originator, message, cause }) => { over(); tell('ended', `${originator} ${cause} ${reasonOf(message)}`); });
  next.on('failed', ({ originator, message, cause }) => { over(); tell('failed', `${originator} ${message?.status_code ?? ''} ${cause} ${reasonOf(message)}`); });
  next.on('newDTMF', ({ originator, dtmf }) => originator === 'remote' && tell('key', dtmf.tone));
  const onConnection = connection => connection.addEventListener('track', ({ track }) => record(new MediaStream([track])));
  if (next.connection) onConnection(next.connection);
  else next.on('peerconnection', ({ peerconnection }) => onConnection(peerconnection));
  // One address is enough for the gateway; gathering may take long.
  next.on('sdp', event => {
    if (event.originator === 'remote') {
      event.sdp = event.sdp.replace(/(?<=^a=candidate:.* )\d+(?= typ host)/gm, port => relayed[port] ?? port);
    }
    if (hidden && event.originator === 'local') event.sdp = event.sdp.replace(/a=candidate:.*\r\n/g, '');
  });
  next.on('icecandidate', ({ candidate, ready }) => candidate.type === 'host' && ready());
}

const told = {
  requestSucceeded: () => tell('refer accepted'),
  requestFailed: ({ response, cause }) => tell('refer refused', `${response?.status_code ?? ''} ${cause}`),
  trying: () => tell('notify', 100),
  progress: ({ status_line }) => tell('notify', status_line.status_code),
  accepted: ({ status_line }) => tell('notify', status_line.status_code),
  failed: ({ status_line }) => tell('notify', status_line.status_code),
};

window.peer = {
  events: () => events,
  forget: () => { events.length = 0; },
  recording,
  /** Records what is heard from now on. */
  listen: () => record(new MediaStream(session.connection.getReceivers().map(({ track }) => track))),
  start({ url, name, password, domain: ours, instance }) {
    domain = ours;
    socket = new JsSIP.WebSocketInterface(url);
    ua = new JsSIP.UA({
      sockets: [socket], uri: `sip:${name}@${domain}`, password, register_expires: 300, connection_recovery_min_interval: 1,
      ...(instance ? { instance_id: instance } : {}),
    });
    ua.on('registered', () => tell('registered'));
    ua.on('registrationFailed', ({ response, cause }) => tell('refused', `${response?.status_code ?? ''} ${cause}`));
    ua.on('disconnected', () => tell('disconnected'));
    ua.on('newRTCSession', ({ session: next, originator }) => {
      watch(next);
      if (originator === 'remote') tell('incoming', next.remote_identity.uri.user);
    });
    ua.start();
  },
  call: ({ number, headers = [] }) => void ua.call(number, { ...media(), extraHeaders: headers }),
  answer: () => session.answer(media()),
  decline: status => session.terminate({ status_code: status }),
  hangUp: () => session.terminate(),
  hold: ({ useUpdate } = {}) => void session.hold({ useUpdate }, () => tell('held')),
  resume: ({ useUpdate } = {}) => void session.unhold({ useUpdate }, () => tell('resumed')),
  transfer: number => void session.refer(`sip:${number}@${domain}`, { eventHandlers: told }),
  /** Joins whom the first call talks to with whom the second talks to. */
  join: number => void sessions[0].refer(`sip:${number}@${domain}`, { eventHandlers: told, replaces: sessions[1] }),
  keys: ({ text, way }) => session.sendDTMF(text, { transportType: way, duration: 120, interToneGap: 200 }),
  /** From now on, no candidate is named: as a page whose addresses are mDNS names that nobody can look up. */
  hideAddresses: () => { hidden = true; },
  /** From now on, the gateway's media is reached by way of a relay: {its port: the relay's}. */
  relayMedia: ports => { relayed = ports; },
  /** What it sends: the codec with its parameters, and how much so far. */
  async sends() {
    const stats = [...(await session.connection.getStats()).values()];
    const sent = stats.find(({ type }) => type === 'outbound-rtp');
    const { mimeType, sdpFmtpLine } = stats.find(({ id }) => id === sent.codecId);
    return { codec: mimeType.replace('audio/', ''), parameters: sdpFmtpLine ?? '', bytes: sent.bytesSent, packets: sent.packetsSent };
  },
  /** What an INVITE says in Replaces that takes this call's place: the gateway's tag first (RFC 3891 section 3). */
  replaces() {
    const tags = [session._from_tag, session._to_tag];
    const [ours, theirs] = session.direction === 'outgoing' ? tags : tags.reverse();
    return `${session._request.call_id};to-tag=${theirs};from-tag=${ours}`;
  },
  cutWebSocket: () => socket._ws.close(),
  /** As when the browser at last finds its connection dead, which it may do long after the network has changed. */
  giveUpWebSocket() {
    socket.disconnect();
    ua.transport._onDisconnect(true, 1006, '');
  },
  /** How much of what it has played the browser had to make up, in ms. */
  async madeUpMs() {
    const stats = [...(await session.connection.getStats()).values()];
    return (stats.find(({ type }) => type === 'inbound-rtp')?.concealedSamples ?? 0) / 48;
  },
  /** What the browser says of its DTLS and SRTP. */
  async transport() {
    const stats = [...(await session.connection.getStats()).values()];
    const { dtlsState, tlsVersion, srtpCipher } = stats.find(({ type }) => type === 'transport') ?? {};
    return { dtlsState, tlsVersion, srtpCipher };
  },
  stop: () => ua.stop(),
};
