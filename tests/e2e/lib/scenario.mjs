// sipp scenarios in steps: what is sent and received, without what all messages have in common.
const lines = text => `<send${text.retransmitted ? ' retrans="500"' : ''}><![CDATA[\n\n    ${text.lines.filter(line => line !== undefined).join('\n    ')}\n\n  ]]></send>`;

/** G.711 and, unless told otherwise, telephone events; sound comes from stream() and goes to its port, or where sipp's echo is. */
const SDP = ({ events = true, echo = false } = {}) => [
  'Content-Type: application/sdp', 'Content-Length: [len]', '',
  'v=0', 'o=sipp 1 1 IN IP4 [local_ip]', 's=-', 'c=IN IP4 [local_ip]', 't=0 0',
  `m=audio [${echo ? 'media_port' : 'rtpstream_audio_port'}] RTP/AVP 0${events ? ' 101' : ''}`, 'a=rtpmap:0 PCMU/8000',
  ...(events ? ['a=rtpmap:101 telephone-event/8000', 'a=fmtp:101 0-15'] : []),
];
const body = sdp => (sdp ? SDP(sdp === true ? {} : sdp) : ['Content-Length: 0']);

export const pause = ms => `<pause milliseconds="${ms}"/>`;
/** Plays the tone over and over. */
export const stream = () => '<nop><action><exec rtp_stream="tone.ulaw,-1,0,PCMU/8000"/></action></nop>';
export const play = file => `<nop><action><exec play_pcap_audio="${file}"/></action></nop>`;

// The one who is called.
export const request = (method, { optional, remember } = {}) => (remember
  ? `<recv request="${method}" crlf="true"><action>${['Via', 'From', 'To', 'Call-ID', 'CSeq'].map(header =>
    `<ereg regexp=".*" search_in="hdr" header="${header}:" assign_to="${remember}${header.replace('-', '')}"/>`).join('')}</action></recv>`
  : `<recv request="${method}"${optional ? ' optional="true"' : ''}/>`);
/** A response to the request before; `to` answers one that was remembered. */
export const response = (status, { sdp, headers = [], tag = 's', to } = {}) => {
  const named = to
    ? [`Via:[$${to}Via]`, `From:[$${to}From]`, `To:[$${to}To];tag=[call_number]${tag}[pid]`, `Call-ID:[$${to}CallID]`, `CSeq:[$${to}CSeq]`]
    : ['[last_Via:]', '[last_From:]', tag ? `[last_To:];tag=[call_number]${tag}[pid]` : '[last_To:]', '[last_Call-ID:]', '[last_CSeq:]'];
  const retransmitted = status.startsWith('2') && sdp;
  return lines({ retransmitted, lines: [`SIP/2.0 ${status}`, ...named, 'Contact: <sip:sipp@[local_ip]:[local_port]>', ...headers, ...body(sdp)] });
};
/** The other side hangs up. */
export const isHungUpOn = () => [request('BYE'), response('200 OK', { tag: '' })].join('\n');

// The one who calls.
/** One scenario may have two dialogs: `dialog: 'second'` is the other one. */
export const recv = (status, { optional, target, dialog = '' } = {}) => `<recv response="${status}"${optional ? ' optional="true"' : ''}${target
  ? ` rrs="true"><action><ereg regexp="sip:[^>;]*" search_in="hdr" header="Contact:" assign_to="${dialog}target"/><ereg regexp="[^ ].*;tag=(.*)" search_in="hdr" header="To:" assign_to="${dialog}to,${dialog}tag"/></action></recv>`
  : '/>'}`;
// What stands before the slashes is not looked at when sipp seeks the call that a message belongs to.
const callId = dialog => `Call-ID: ${dialog ? `${dialog}///` : ''}[call_id]`;
const from = ['Max-Forwards: 70', 'From: <sip:[field0]@[field2]>;tag=[call_number]c[pid]'];
const via = 'Via: SIP/2.0/UDP [local_ip]:[local_port];rport;branch=[branch]';
const contact = 'Contact: <sip:[field0]@[local_ip]:[local_port]>';
const first = (cseq, { sdp, headers = [], proof, dialog, number = '[field1]' }) => lines({ retransmitted: true, lines: [
  `INVITE sip:${number}@[field2] SIP/2.0`, via, ...from, `To: <sip:${number}@[field2]>`, callId(dialog), `CSeq: ${cseq} INVITE`, contact,
  proof ? '[field3]' : undefined, ...headers, ...body(sdp),
] });
/** An INVITE that proves nothing. */
export const unproven = options => first(1, options);
/** An INVITE that proves who it is from. */
export const invite = (options = {}) => [
  first(1, options), recv(100, { optional: true }), '<recv response="401" auth="true"/>',
  lines({ lines: [`ACK sip:${options.number ?? '[field1]'}@[field2] SIP/2.0`, '[last_Via:]', 'Max-Forwards: 70', '[last_From:]', '[last_To:]', '[last_Call-ID:]', 'CSeq: 1 ACK', 'Content-Length: 0'] }),
  first(2, { ...options, proof: true }),
].join('\n');
/** A request in the dialog. */
export const within = (method, cseq, { sdp, headers = [], content, dialog = '' } = {}) => lines({ retransmitted: method !== 'ACK', lines: [
  `${method} [$${dialog}target] SIP/2.0`, via, ...from, `To: [$${dialog}to]`, callId(dialog), `CSeq: ${cseq} ${method}`, contact, ...headers,
  ...(content ? [`Content-Type: ${content.type}`, 'Content-Length: [len]', '', ...content.lines] : body(sdp)),
] });
export const hangsUp = cseq => [within('BYE', cseq), recv(200)].join('\n');

/** sipp wants each variable to be used. */
export const written = steps => {
  const text = steps.join('\n');
  const names = [...new Set([...text.matchAll(/assign_to="([^"]*)"/g)].flatMap(([, names]) => names.split(',')))];
  const reference = names.length ? `<Reference variables="${names.join(',')}"/>\n` : '';
  return `<?xml version="1.0" encoding="UTF-8"?>\n<!DOCTYPE scenario SYSTEM "sipp.dtd">\n<scenario name="steps">\n${text}\n${reference}</scenario>\n`;
};
