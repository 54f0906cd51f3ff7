use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize};
use std::time::Duration;

use axum::Router;
use axum::extract::Extension;
use axum::routing::get;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use super::NetEvent;
use super::websocket::{self, Shared};
use crate::io::page;
use crate::signalling::Connection;

/// How long a TLS handshake and a request's headers may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// TCP connections at once; more wait to be accepted.
const MAX_TCP: usize = 24_000;

/// What is served over HTTP.
#[derive(Clone)]
pub struct HttpConfig {
    /// Where: each address with a TLS side, or none for plain HTTP.
    pub listen: Vec<(SocketAddr, Option<Arc<ServerConfig>>)>,
    /// Pages of other origins that may connect.
    pub origins: Vec<String>,
    /// What the page is told.
    pub page: page::PageInfo,
}

/// Serves the page and the WebSocket. Gives the addresses that are listened on and the tasks that do it.
///
/// # Errors
/// An address that cannot be listened on; says which.
pub async fn serve_http(
    config: HttpConfig,
    events: mpsc::Sender<NetEvent>,
) -> io::Result<(Vec<SocketAddr>, Vec<JoinHandle<()>>)> {
    let shared = Shared {
        events,
        origins: Arc::new(config.origins),
        open: Arc::new(AtomicUsize::new(0)),
        next: Arc::new(AtomicU64::new(1)),
    };
    let websocket = Router::new().route(page::WEBSOCKET_PATH, get(websocket::upgrade)).with_state(shared);
    let router = page::router(config.page).merge(websocket);
    let room = Arc::new(Semaphore::new(MAX_TCP));
    let (mut addresses, mut tasks) = (Vec::new(), Vec::new());
    for (address, tls) in config.listen {
        let listener = TcpListener::bind(address)
            .await
            .map_err(|error| io::Error::new(error.kind(), format!("web on TCP {address}: {error}")))?;
        addresses.push(listener.local_addr()?);
        tasks.push(tokio::spawn(accept(listener, tls.map(TlsAcceptor::from), router.clone(), room.clone())));
    }
    Ok((addresses, tasks))
}

async fn accept(listener: TcpListener, tls: Option<TlsAcceptor>, router: Router, room: Arc<Semaphore>) {
    loop {
        let Ok(permit) = room.clone().acquire_owned().await else { return };
        let Ok((stream, _)) = listener.accept().await else {
            // Out of file descriptors: some will be given back.
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let (tls, router) = (tls.clone(), router.clone());
        tokio::spawn(async move {
            serve_connection(stream, tls, router).await;
            drop(permit);
        });
    }
}

async fn serve_connection(stream: TcpStream, tls: Option<TlsAcceptor>, router: Router) {
    let (Ok(local), Ok(remote)) = (stream.local_addr(), stream.peer_addr()) else { return };
    let _ = stream.set_nodelay(true);
    let router = router.layer(Extension(Connection { local, remote, secure: tls.is_some() }));
    let service = TowerToHyperService::new(router);
    let mut http = hyper::server::conn::http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(PATIENCE).max_buf_size(16 * 1024);
    // A connection that breaks is its peer's affair.
    match tls {
        None => drop(http.serve_connection(TokioIo::new(stream), service).with_upgrades().await),
        Some(tls) => {
            if let Ok(Ok(stream)) = timeout(PATIENCE, tls.accept(stream)).await {
                drop(http.serve_connection(TokioIo::new(stream), service).with_upgrades().await);
            }
        }
    }
}
