//! SIP over WebSocket (RFC 7118): the `sip` subprotocol, one message a WebSocket message, text or binary.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket, WebSocketUpgrade, close_code};
use axum::extract::{Extension, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::time::{Instant, interval_at, timeout};

use super::NetEvent;
use crate::signalling::{Connection, ConnectionId};
use crate::wire::sip::MAX_MESSAGE_BYTES;

/// Below the minute after which proxies and NATs forget an idle connection.
const PING_EVERY: Duration = Duration::from_secs(25);
/// A browser that has answered no ping for this long is gone.
const SILENT_FOR: Duration = Duration::from_secs(60);
/// Messages that wait for a slow browser; one that is slower is cut off.
const WRITE_QUEUE: usize = 128;
/// How long one write may take.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);
/// WebSockets at once; more are refused with 503.
const MAX_CONNECTIONS: usize = 20_000;

/// What the WebSocket's route has to know.
#[derive(Clone)]
pub(super) struct Shared {
    pub(super) events: mpsc::Sender<NetEvent>,
    pub(super) origins: Arc<Vec<String>>,
    pub(super) open: Arc<AtomicUsize>,
    pub(super) next: Arc<AtomicU64>,
}

/// `GET /ws`.
pub(super) async fn upgrade(
    State(shared): State<Shared>,
    Extension(about): Extension<Connection>,
    headers: HeaderMap,
    upgrade: WebSocketUpgrade,
) -> Response {
    if !origin_allowed(&shared.origins, &headers) {
        return (StatusCode::FORBIDDEN, "this page's origin is not in web.allowed_origins of the gateway's configuration\n")
            .into_response();
    }
    let offered = headers.get_all(header::SEC_WEBSOCKET_PROTOCOL).iter().filter_map(|v| v.to_str().ok());
    if !offered.flat_map(|v| v.split(',')).any(|protocol| protocol.trim().eq_ignore_ascii_case("sip")) {
        return (StatusCode::BAD_REQUEST, "the WebSocket subprotocol \"sip\" is expected (RFC 7118)\n").into_response();
    }
    if shared.open.fetch_add(1, Ordering::Relaxed) >= MAX_CONNECTIONS {
        shared.open.fetch_sub(1, Ordering::Relaxed);
        return (StatusCode::SERVICE_UNAVAILABLE, "too many connections\n").into_response();
    }
    let guard = Slot(shared.open.clone());
    upgrade
        .protocols(["sip"])
        .read_buffer_size(4_096)
        .write_buffer_size(0)
        .max_message_size(MAX_MESSAGE_BYTES)
        .max_frame_size(MAX_MESSAGE_BYTES)
        .on_upgrade(move |socket| async move {
            let connection = ConnectionId(shared.next.fetch_add(1, Ordering::Relaxed));
            run(socket, connection, about, &shared.events).await;
            drop(guard);
        })
}

/// Gives a connection's place back, however it ends.
struct Slot(Arc<AtomicUsize>);

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A browser always says where a page comes from: that page must be ours, or one that the configuration names. Who sends no
/// Origin is no browser, and proves itself by digest like every other phone.
fn origin_allowed(origins: &[String], headers: &HeaderMap) -> bool {
    let Some(origin) = headers.get(header::ORIGIN) else { return true };
    let Ok(origin) = origin.to_str() else { return false };
    if origins.iter().any(|allowed| allowed.eq_ignore_ascii_case(origin)) {
        return true;
    }
    let host = headers.get(header::HOST).and_then(|h| h.to_str().ok()).unwrap_or_default();
    let own = origin.split_once("://").map(|(_, authority)| authority);
    !host.is_empty() && own.is_some_and(|own| own.eq_ignore_ascii_case(host))
}

async fn run(mut socket: WebSocket, connection: ConnectionId, about: Connection, events: &mpsc::Sender<NetEvent>) {
    let (tx, mut writes) = mpsc::channel(WRITE_QUEUE);
    if events.send(NetEvent::Opened { connection, about, tx }).await.is_err() {
        return;
    }
    let mut ping = interval_at(Instant::now() + PING_EVERY, PING_EVERY);
    let mut heard = Instant::now();
    loop {
        tokio::select! {
            read = socket.recv() => {
                let Some(Ok(message)) = read else { break };
                heard = Instant::now();
                if !on_frame(&mut socket, connection, message, events).await {
                    break;
                }
            }
            // The driver lets go of a connection whose queue is full.
            write = writes.recv() => match write {
                Some(bytes) => {
                    if !send(&mut socket, frame(bytes)).await {
                        break;
                    }
                }
                None => {
                    let frame = CloseFrame { code: close_code::AWAY, reason: Utf8Bytes::from_static("") };
                    send(&mut socket, Message::Close(Some(frame))).await;
                    break;
                }
            },
            _ = ping.tick() => {
                if heard.elapsed() > SILENT_FOR || !send(&mut socket, Message::Ping(Bytes::new())).await {
                    break;
                }
            }
        }
    }
    // Every opening is followed by its closing: the engine's view of what lives depends on it.
    let _ = events.send(NetEvent::Closed { connection }).await;
}

/// False when the connection is over.
async fn on_frame(socket: &mut WebSocket, connection: ConnectionId, message: Message, events: &mpsc::Sender<NetEvent>) -> bool {
    let bytes: Bytes = match message {
        Message::Text(text) => text.into(),
        Message::Binary(bytes) => bytes,
        // axum answers pings itself.
        Message::Ping(_) | Message::Pong(_) => return true,
        Message::Close(_) => return false,
    };
    // RFC 5626 section 3.5.1: a double line end asks for a single one.
    if bytes.iter().all(|b| matches!(b, b'\r' | b'\n')) {
        return bytes.len() < 4 || send(socket, Message::Text(Utf8Bytes::from_static("\r\n"))).await;
    }
    events.send(NetEvent::Frame { connection, bytes }).await.is_ok()
}

/// Text wherever it is text: some clients read nothing else.
fn frame(bytes: Bytes) -> Message {
    match Utf8Bytes::try_from(bytes.clone()) {
        Ok(text) => Message::Text(text),
        Err(_) => Message::Binary(bytes),
    }
}

async fn send(socket: &mut WebSocket, message: Message) -> bool {
    timeout(WRITE_TIMEOUT, socket.send(message)).await.is_ok_and(|sent| sent.is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_own_page_and_those_that_are_named_may_connect() {
        let headers = |origin: Option<&str>| {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, "gw.example:8443".parse().expect("a value"));
            if let Some(origin) = origin {
                headers.insert(header::ORIGIN, origin.parse().expect("a value"));
            }
            headers
        };
        let named = ["https://intranet.example".to_owned()];
        for (origin, allowed) in [
            (Some("https://gw.example:8443"), true),
            (Some("https://intranet.example"), true),
            (None, true),
            (Some("https://gw.example"), false),
            (Some("https://evil.example"), false),
            (Some("null"), false),
        ] {
            assert_eq!(origin_allowed(&named, &headers(origin)), allowed, "{origin:?}");
        }
    }
}
