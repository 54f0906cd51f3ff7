//! The softphone page: the files of `web/dist` inside the binary, with the headers that keep it to itself.
//!
//! No file is read and nothing is fetched from elsewhere at run time, so that it works on an isolated network. Browsers may
//! keep the files but ask each time whether they are the newest: a gateway that was updated serves no mixed page.

use std::sync::Arc;

use axum::Router;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use sha2::{Digest as _, Sha256};

/// The embedded files by path, `index.html` among them if the page was built.
static FILES: &[(&str, &[u8])] = &include!(concat!(env!("OUT_DIR"), "/page_files.rs"));

/// A page of under 100 lines that calls with plain JsSIP, for those who write their own.
const EXAMPLE: &str = include_str!("../../examples/plain-jssip.html");

const NOT_BUILT: &str = "<!doctype html><meta charset=utf-8><title>Ringway</title>\
    <h1>The gateway runs, but its page was not built.</h1>\
    <p>Run <code>script/run</code>, or <code>npm ci &amp;&amp; npm run build</code> in <code>web/</code> and then <code>cargo build</code> again.</p>";

/// Scripts, styles and connections from here alone; nobody may frame the page.
const CSP: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; \
    media-src 'self' blob:; manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// What the page is told of its gateway.
#[derive(Debug, Clone, Default)]
pub struct PageInfo {
    /// The SIP domain.
    pub domain: String,
    /// Numbers that anyone may try, each with what it does in a few words.
    pub demo_numbers: Vec<DemoNumber>,
}

/// A number to try.
#[derive(Debug, Clone, serde::Serialize)]
pub struct DemoNumber {
    /// What is dialled.
    pub number: String,
    /// What is heard: `echo`.
    pub what: String,
}

/// The path of the WebSocket, which the page is told and the server must route.
pub const WEBSOCKET_PATH: &str = "/ws";

/// Routes for `/`, the page's files, `/config.json` and the example; [`WEBSOCKET_PATH`] is left to the caller.
pub fn router(info: PageInfo) -> Router {
    let config = serde_json::json!({
        "domain": info.domain,
        "websocket_path": WEBSOCKET_PATH,
        "version": env!("CARGO_PKG_VERSION"),
        "demo_numbers": info.demo_numbers,
    });
    let config = Asset::new("config.json", config.to_string().into_bytes(), CSP.to_owned());
    let example = Asset::new("plain-jssip.html", EXAMPLE.into(), csp_with_inline(EXAMPLE));
    let mut router = Router::new().route("/config.json", config.route()).route("/examples/plain-jssip.html", example.route());
    let mut has_index = false;
    for (name, bytes) in FILES {
        let asset = Asset::new(name, bytes.to_vec(), CSP.to_owned());
        if *name == "index.html" {
            has_index = true;
            router = router.route("/", asset.clone().route());
        }
        router = router.route(&format!("/{name}"), asset.route());
    }
    if !has_index {
        router = router.route("/", Asset::new("index.html", NOT_BUILT.into(), CSP.to_owned()).route());
    }
    router
}

/// One file with all of its headers, made once.
#[derive(Clone)]
struct Asset {
    bytes: bytes::Bytes,
    etag: HeaderValue,
    headers: Arc<HeaderMap>,
}

impl Asset {
    fn new(name: &str, bytes: Vec<u8>, csp: String) -> Self {
        let hash = Sha256::digest(&bytes);
        let hex: String = hash[..12].iter().map(|byte| format!("{byte:02x}")).collect();
        let etag = HeaderValue::try_from(format!("\"{hex}\"")).expect("hex digits");
        let fixed = [
            (header::CONTENT_TYPE, content_type(name)),
            (header::CACHE_CONTROL, "no-cache"),
            (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
            (header::REFERRER_POLICY, "no-referrer"),
            (header::HeaderName::from_static("permissions-policy"), "microphone=(self), camera=(), geolocation=()"),
            (header::HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        ];
        let mut headers: HeaderMap = fixed.into_iter().map(|(name, value)| (name, HeaderValue::from_static(value))).collect();
        headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::try_from(csp).expect("ASCII"));
        headers.insert(header::ETAG, etag.clone());
        Self { bytes: bytes.into(), etag, headers: Arc::new(headers) }
    }

    fn route(self) -> axum::routing::MethodRouter {
        get(move |asked: HeaderMap| async move { self.answer(&asked) })
    }

    fn answer(&self, asked: &HeaderMap) -> Response {
        let headers = HeaderMap::clone(&self.headers);
        if asked.get(header::IF_NONE_MATCH) == Some(&self.etag) {
            return (StatusCode::NOT_MODIFIED, headers).into_response();
        }
        (headers, self.bytes.clone()).into_response()
    }
}

fn content_type(name: &str) -> &'static str {
    match name.rsplit_once('.').map_or("", |(_, extension)| extension) {
        "html" => "text/html; charset=utf-8",
        "js" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "json" => "application/json",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "webmanifest" => "application/manifest+json",
        "txt" => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}

/// The example is one file, so its script and style stand in it: their hashes let them run, and nothing else (CSP level 2).
fn csp_with_inline(html: &str) -> String {
    let hashes = |tag: &str| {
        let (open, close) = (format!("<{tag}>"), format!("</{tag}>"));
        let blocks = html.split(&open).skip(1).filter_map(|rest| rest.split_once(&close));
        let quoted: Vec<String> = blocks.map(|(block, _)| format!(" 'sha256-{}'", base64(&Sha256::digest(block)))).collect();
        quoted.concat()
    };
    let (scripts, styles) = (hashes("script"), hashes("style"));
    CSP.replace("script-src 'self'", &format!("script-src 'self'{scripts}"))
        .replace("style-src 'self'", &format!("style-src 'self'{styles}"))
}

fn base64(bytes: &[u8]) -> String {
    const SIGNS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let word = chunk.iter().fold(0_u32, |word, byte| word << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for at in 0..4 {
            let sign = SIGNS[(word >> (18 - 6 * at) & 63) as usize];
            text.push(if at <= chunk.len() { char::from(sign) } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::http::Request;
    use tower::ServiceExt as _;

    use super::*;

    async fn ask(path: &str, etag: Option<&HeaderValue>) -> Response {
        let info = PageInfo {
            domain: "a.org".to_owned(),
            demo_numbers: vec![DemoNumber { number: "600".to_owned(), what: "echo".to_owned() }],
        };
        let mut request = Request::get(path);
        if let Some(etag) = etag {
            request = request.header(header::IF_NONE_MATCH, etag);
        }
        router(info).oneshot(request.body(Body::empty()).expect("a request")).await.expect("infallible")
    }

    #[test]
    fn base64_is_rfc_4648s() {
        let cases = [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg=="), ("foobar", "Zm9vYmFy")];
        for (bytes, text) in cases {
            assert_eq!(base64(bytes.as_bytes()), text);
        }
    }

    #[tokio::test]
    async fn the_page_is_told_of_its_gateway_and_keeps_to_itself() {
        let response = ask("/config.json", None).await;
        assert_eq!(response.headers()[header::CONTENT_TYPE], "application/json");
        let body = axum::body::to_bytes(response.into_body(), 10_000).await.expect("a body");
        let config: serde_json::Value = serde_json::from_slice(&body).expect("JSON");
        assert_eq!((&config["domain"], &config["websocket_path"]), (&"a.org".into(), &"/ws".into()));
        assert_eq!(config["demo_numbers"][0]["number"], "600");
        let response = ask("/", None).await;
        assert_eq!(response.headers()[header::CONTENT_TYPE], "text/html; charset=utf-8");
        let csp = response.headers()[header::CONTENT_SECURITY_POLICY].to_str().expect("ASCII");
        assert!(csp.contains("script-src 'self';") && csp.contains("frame-ancestors 'none'"), "{csp}");
        let etag = response.headers()[header::ETAG].clone();
        assert_eq!(ask("/", Some(&etag)).await.status(), StatusCode::NOT_MODIFIED);
        assert_eq!(ask("/nothing", None).await.status(), StatusCode::NOT_FOUND);
    }

    #[tokio::test]
    async fn the_example_may_run_its_own_script_and_no_other() {
        let response = ask("/examples/plain-jssip.html", None).await;
        let csp = response.headers()[header::CONTENT_SECURITY_POLICY].to_str().expect("ASCII");
        assert!(csp.contains("script-src 'self' 'sha256-") && !csp.contains("unsafe"), "{csp}");
        assert!(EXAMPLE.lines().count() < 100);
    }
}
