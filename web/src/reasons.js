// Why a call, a transfer, a message or a sign-in failed, in words for the person who wanted to talk.

const BY_STATUS = {
  400: 'The gateway did not understand the call.',
  401: 'Your sign-in is no longer valid. Sign in again.',
  403: 'You may not call this number.',
  404: 'Nobody has this number.',
  407: 'Your sign-in is no longer valid. Sign in again.',
  408: 'No answer.',
  405: 'The other side does not allow this.',
  410: 'This number is no longer in use.',
  480: 'Not reachable right now.',
  481: 'The call is over already.',
  484: 'The number is not complete.',
  486: 'Busy.',
  422: 'The other side wants to be asked less often whether the call goes on.',
  488: 'The other side has no audio format in common with you.',
  491: 'Both sides changed the call at the same moment. Try again.',
  500: 'The gateway had a problem. Try again.',
  502: 'The telephone network did not answer properly.',
  503: 'All lines are taken at the moment. Try again soon.',
  504: 'The telephone network did not answer in time.',
  600: 'Busy.',
  603: 'The call was declined.',
  604: 'Nobody has this number.',
};

const BY_CAUSE = {
  'Connection Error': 'The connection to the gateway was lost.',
  'Request Timeout': 'The gateway did not answer.',
  'Internal Error': 'Something went wrong in this page. Reload it and try again.',
  'No Answer': 'No answer.',
  Expires: 'No answer.',
  'No ACK': 'The connection to the gateway was lost while answering.',
  'Dialog Error': 'The other side no longer knows of this call.',
  'Incompatible SDP': 'The other side has no audio format in common with you.',
  'Missing SDP': 'The other side sent no audio.',
  'WebRTC Error': 'Your browser could not set up the audio.',
  'Bad Media Description': 'Your browser could not set up the audio.',
  'RTP Timeout': 'No sound arrived any more.',
  'User Denied Media Access': 'The page may not use your microphone. Allow it in the address bar, then call again.',
};

/** Words for a call that did not come about; null when nobody needs to be told (someone hung up on purpose). */
export function callFailure({ cause, status, byUs }) {
  if (cause === 'Canceled' || status === 487 || (byUs && cause === 'Rejected')) return null;
  return BY_STATUS[status] ?? BY_CAUSE[cause] ?? (status ? `The call failed (${status}).` : 'The call failed.');
}

/** The Reason header of a BYE or CANCEL (RFC 3326): {cause, text}, or nothing. */
function readReason(header) {
  const [, cause] = header?.match(/^\s*SIP\s*;[^"]*\bcause\s*=\s*(\d{3})/i) ?? [];
  const [, text] = header?.match(/;\s*text\s*=\s*"((?:[^"\\]|\\.)*)"/i) ?? [];
  return cause ? { cause: Number(cause), text: text?.replace(/\\(.)/g, '$1') } : null;
}

/** What the gateway says when it ends a call by itself. */
const BY_TEXT = {
  'The connection was lost': 'The other side lost its connection.',
  'Session timer expired': 'The other side no longer answers.',
  'The answer was not acknowledged': 'The other side no longer answers.',
  'The other side does not know the call any more': 'The other side no longer knows of this call.',
  'No media in common': 'The other side has no audio format in common with you.',
  'No room for media': 'All lines are taken at the moment. Try again soon.',
  'The gateway stops': 'The gateway was stopped.',
};

/** Words for a BYE with a Reason; null for an ordinary hanging up. */
export function endReason(header) {
  const reason = readReason(header);
  if (!reason || reason.cause === 200) return null;
  const { cause, text = '' } = reason;
  if (text in BY_TEXT) return BY_TEXT[text];
  if (text.startsWith('Media failed')) return 'The sound broke off.';
  const [, failed] = text.match(/^Transfer failed: (.*)/) ?? [];
  if (failed) return `You were put through, but ${failed.replace('the target', 'the other one')}.`;
  return BY_STATUS[cause] ?? (text ? `The call was ended: ${text}.` : null);
}

/** Whether a CANCEL says that another device of the same account has answered. */
export const answeredElsewhere = header => readReason(header)?.cause === 200;

/** Words for a transfer to `to` that was refused or failed, without what that means for the call. */
export function transferFailure({ cause, status, to }) {
  const words = {
    403: `You may not transfer to ${to}`,
    404: `Nobody has the name or number ${to}`,
    408: `${to} does not respond`,
    480: `${to} did not answer or cannot be reached`,
    481: 'The call is over already',
    484: `The number ${to} is not complete`,
    486: `${to} is busy`,
    487: 'The transfer was given up',
    488: `${to} has no audio format in common with the other side`,
    491: 'Both sides changed the call at the same moment; try again',
    600: `${to} is busy`,
    603: `${to} declined`,
    604: `Nobody has the name or number ${to}`,
  }[status];
  return words ?? BY_CAUSE[cause]?.replace(/\.$/, '') ?? `The transfer to ${to} failed${status ? ` (${status})` : ''}`;
}

/** Words for a message that was not delivered. */
export function messageFailure({ cause, status }) {
  const words = {
    403: 'you may not write to them',
    404: 'nobody who reads messages has this name or number',
    408: 'no answer',
    413: 'it is too long',
    415: 'their device reads no messages',
    480: 'not reachable right now',
    503: 'too many messages at the moment; try again soon',
  }[status];
  if (words) return words;
  if (cause === 'Connection Error') return 'the connection to the gateway was lost';
  return cause === 'Request Timeout' ? 'the gateway did not answer' : `it was refused${status ? ` (${status})` : ''}`;
}

/** Words for a registration that was refused. */
export function signInFailure({ cause, status }) {
  if ([401, 403, 407].includes(status) || cause === 'Authentication Error') return 'Name or password is wrong.';
  if (status === 404) return 'The gateway does not know this name.';
  return BY_CAUSE[cause] ?? `The gateway refused the sign-in (${status ?? cause}).`;
}

/** Words for what getUserMedia threw. */
export function microphoneFailure(error) {
  if (!navigator.mediaDevices) return 'Browsers give the microphone only to pages opened over HTTPS. Open this page with https://.';
  switch (error.name) {
    case 'NotAllowedError':
    case 'SecurityError':
      return BY_CAUSE['User Denied Media Access'];
    case 'NotFoundError':
    case 'OverconstrainedError':
      return 'There is no microphone. Plug one in, then call again.';
    case 'NotReadableError':
    case 'AbortError':
      return 'Another program is using your microphone. Close it, then call again.';
    default:
      return 'The microphone could not be opened.';
  }
}
