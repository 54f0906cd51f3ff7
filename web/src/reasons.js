// Why a call or a sign-in failed, in words for the person who wanted to talk.

const BY_STATUS = {
  400: 'The gateway did not understand the call.',
  401: 'Your sign-in is no longer valid. Sign in again.',
  403: 'You may not call this number.',
  404: 'Nobody has this number.',
  407: 'Your sign-in is no longer valid. Sign in again.',
  408: 'No answer.',
  410: 'This number is no longer in use.',
  480: 'Not reachable right now.',
  484: 'The number is not complete.',
  486: 'Busy.',
  488: 'The other side has no audio format in common with you.',
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
