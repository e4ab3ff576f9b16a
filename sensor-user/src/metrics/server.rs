//! /metrics, /livez and /readyz over HTTP/1.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use thiserror::Error;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use super::Metrics;
use super::health::Health;

const PLAIN: &str = "text/plain; charset=utf-8";
const METRICS: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What a client may take.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Connections at the same time; further ones wait to be accepted.
    pub connections: usize,
    /// From the connection to the end of the request's header.
    pub header: Duration,
    /// From the connection to the end of the answer.
    pub connection: Duration,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { connections: 32, header: Duration::from_secs(5), connection: Duration::from_secs(10) }
    }
}

/// No server on this address.
#[derive(Debug, Error)]
#[error(
    "cannot listen on {address} for metrics: {source}{}; choose another address with --metrics-address ADDRESS:PORT \
     or metrics.address in the configuration, or none",
    used_by(source)
)]
pub struct ListenError {
    /// Where.
    pub address: SocketAddr,
    /// Why.
    pub source: io::Error,
}

fn used_by(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => " (does another svcsensor run?)",
        _ => "",
    }
}

/// Listens on an address.
///
/// # Errors
/// [`ListenError`], in the first place where the port is in use.
pub async fn listen(address: SocketAddr) -> Result<TcpListener, ListenError> {
    TcpListener::bind(address).await.map_err(|source| ListenError { address, source })
}

/// Answers until the future is dropped. One request a connection: scrapers are few, and none may hold a place.
pub async fn serve(
    listener: TcpListener,
    metrics: Arc<Metrics>,
    health: Arc<Health>,
    bounds: Bounds,
) -> Infallible {
    let places = Arc::new(Semaphore::new(bounds.connections));
    loop {
        let place = Arc::clone(&places).acquire_owned().await.expect("nobody closes the semaphore");
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                // Out of descriptors, most likely: that passes, and must not become a busy loop.
                tracing::warn!(%error, "a connection for metrics could not be accepted");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let (metrics, health) = (Arc::clone(&metrics), Arc::clone(&health));
        tokio::spawn(async move {
            connection(stream, &metrics, &health, bounds).await;
            drop(place);
        });
    }
}

async fn connection(stream: TcpStream, metrics: &Metrics, health: &Health, bounds: Bounds) {
    let answer = service_fn(|request: Request<Incoming>| async move {
        Ok::<_, Infallible>(answer(request.method(), request.uri().path(), metrics, health))
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(bounds.header)
        .keep_alive(false)
        .max_buf_size(16 << 10)
        .serve_connection(TokioIo::new(stream), answer);
    match tokio::time::timeout(bounds.connection, connection).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "a connection for metrics ended early"),
        Err(_) => tracing::debug!("a connection for metrics took too long"),
    }
}

fn answer(method: &Method, path: &str, metrics: &Metrics, health: &Health) -> Response<Full<Bytes>> {
    if method != Method::GET && method != Method::HEAD {
        let mut response = text(StatusCode::METHOD_NOT_ALLOWED, PLAIN, "only GET and HEAD\n".to_owned());
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return response;
    }
    match path {
        "/metrics" => text(StatusCode::OK, METRICS, metrics.render()),
        "/livez" => state(health.live()),
        "/readyz" => state(health.ready()),
        _ => text(StatusCode::NOT_FOUND, PLAIN, "there are /metrics, /livez and /readyz\n".to_owned()),
    }
}

fn state(state: Result<(), String>) -> Response<Full<Bytes>> {
    match state {
        Ok(()) => text(StatusCode::OK, PLAIN, "ok\n".to_owned()),
        Err(problem) => text(StatusCode::SERVICE_UNAVAILABLE, PLAIN, problem),
    }
}

fn text(status: StatusCode, content_type: &'static str, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::time::Instant;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    const LOOPBACK: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

    struct Running {
        address: SocketAddr,
        health: Arc<Health>,
        task: tokio::task::JoinHandle<Infallible>,
    }

    impl Running {
        async fn start(bounds: Bounds) -> Self {
            let listener = listen(LOOPBACK).await.unwrap();
            let address = listener.local_addr().unwrap();
            let health = Arc::new(Health::new(Duration::from_secs(60)));
            let task = tokio::spawn(serve(listener, Arc::new(Metrics::new()), Arc::clone(&health), bounds));
            Self { address, health, task }
        }

        async fn ask(&self, request: &str) -> (u16, String, String) {
            let mut stream = TcpStream::connect(self.address).await.unwrap();
            stream.write_all(format!("{request} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).await.unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.unwrap();
            let (head, body) = answer.split_once("\r\n\r\n").unwrap();
            let status = head.split(' ').nth(1).unwrap().parse().unwrap();
            (status, head.to_lowercase(), body.to_owned())
        }
    }

    impl Drop for Running {
        fn drop(&mut self) {
            self.task.abort();
        }
    }

    #[tokio::test]
    async fn metrics_come_as_text_format() {
        let server = Running::start(Bounds::default()).await;
        let (status, head, body) = server.ask("GET /metrics").await;
        assert_eq!(status, 200);
        assert!(head.contains("content-type: text/plain; version=0.0.4; charset=utf-8"), "{head}");
        assert!(body.contains("\nsvcsensor_build_info{version=\""), "{body}");
        assert!(body.contains("\nprocess_resident_memory_bytes "), "{body}");

        let (status, head, body) = server.ask("HEAD /metrics").await;
        assert_eq!((status, &*body), (200, ""));
        assert!(head.contains("content-length: "), "{head}");
    }

    #[tokio::test]
    async fn health_is_told() {
        let server = Running::start(Bounds::default()).await;
        assert_eq!(server.ask("GET /livez").await.0, 200);
        let (status, _, body) = server.ask("GET /readyz").await;
        assert_eq!((status, &*body), (503, "missing:\nstarting\n"));
        server.health.set_missing(Vec::new());
        let (status, _, body) = server.ask("GET /readyz").await;
        assert_eq!((status, &*body), (200, "ok\n"));
    }

    #[tokio::test]
    async fn everything_else_is_refused() {
        let server = Running::start(Bounds::default()).await;
        assert_eq!(server.ask("GET /").await.0, 404);
        assert_eq!(server.ask("GET /metrics/x").await.0, 404);
        let (status, head, _) = server.ask("DELETE /metrics").await;
        assert_eq!(status, 405);
        assert!(head.contains("allow: get, head"), "{head}");
    }

    #[tokio::test]
    async fn slow_clients_are_cut_off_and_hold_no_place() {
        let bounds = Bounds {
            connections: 2,
            header: Duration::from_millis(300),
            connection: Duration::from_millis(600),
        };
        let server = Running::start(bounds).await;
        let begin = Instant::now();
        let mut slow = Vec::new();
        for _ in 0..2 {
            let mut stream = TcpStream::connect(server.address).await.unwrap();
            stream.write_all(b"GET /metrics HTTP/1.1\r\nX-Slow: ").await.unwrap();
            slow.push(stream);
        }
        // Both places are taken until the header's time is over; then this one is answered.
        assert_eq!(server.ask("GET /livez").await.0, 200);
        let waited = begin.elapsed();
        assert!((250..5000).contains(&waited.as_millis()), "{waited:?}");
        for mut stream in slow {
            let mut rest = Vec::new();
            let _ = stream.read_to_end(&mut rest).await;
            assert!(!String::from_utf8_lossy(&rest).contains(" 200 "));
        }
    }

    #[tokio::test]
    async fn a_client_that_trickles_bytes_is_cut_off_too() {
        let bounds = Bounds {
            connections: 1,
            header: Duration::from_millis(200),
            connection: Duration::from_millis(600),
        };
        let server = Running::start(bounds).await;
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        let begin = Instant::now();
        let mut refused = stream.write_all(b"GET /metrics HTTP/1.1\r\nX: ").await.is_err();
        while !refused && begin.elapsed() < Duration::from_secs(5) {
            tokio::time::sleep(Duration::from_millis(50)).await;
            refused = stream.write_all(b"x").await.is_err();
        }
        assert!(refused, "a byte at a time kept the connection open");
        assert!(begin.elapsed() < Duration::from_secs(3));
    }

    #[tokio::test]
    async fn an_oversized_header_is_refused() {
        let server = Running::start(Bounds::default()).await;
        let (status, _, _) = server.ask(&format!("GET /{}", "x".repeat(20_000))).await;
        assert!((400..500).contains(&status), "{status}");
    }

    #[tokio::test]
    async fn a_port_in_use_is_named() {
        let first = listen(LOOPBACK).await.unwrap();
        let address = first.local_addr().unwrap();
        let error = listen(address).await.unwrap_err().to_string();
        assert!(error.starts_with(&format!("cannot listen on {address} for metrics: ")), "{error}");
        assert!(error.contains("--metrics-address") && error.contains("another svcsensor"), "{error}");
    }
}
