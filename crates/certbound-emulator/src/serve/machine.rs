//! The machine's own services: its metadata service by plain HTTP, and Service Fabric's token service by TLS.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rustls::ServerConfig;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

use super::connection::{Answer, PATIENCE, Resettable, http, whole};
use super::front_door::facts;
use crate::emulator::Emulator;
use crate::fault::FaultEffect;

/// One client; `own_host` is the `host:port` that this listener goes by.
pub(super) async fn connection(stream: TcpStream, emulator: Arc<Emulator>, own_host: Arc<str>) {
    let _ = stream.set_nodelay(true);
    let (stream, reset) = Resettable::new(stream);
    let service = service_fn(move |request: Request<Incoming>| {
        let (emulator, own_host) = (Arc::clone(&emulator), Arc::clone(&own_host));
        let answer = move |request| emulator.handle_machine(emulator.now(), &own_host, request);
        respond(request, answer, Arc::clone(&reset))
    });
    if let Err(error) = http().serve_connection(TokioIo::new(stream), service).await {
        tracing::debug!(%error, "a connection to the metadata service ended early");
    }
}

/// The TLS of Service Fabric's token service: with its own certificate, and with one that is not.
pub(super) struct NodeTls {
    pub(super) own: Arc<ServerConfig>,
    pub(super) foreign: Arc<ServerConfig>,
}

/// One client of Service Fabric's token service, which is known by its certificate.
pub(super) async fn node_connection(
    stream: TcpStream,
    emulator: Arc<Emulator>,
    tls: Arc<NodeTls>,
    own_host: Arc<str>,
) {
    let _ = stream.set_nodelay(true);
    let (stream, reset) = Resettable::new(stream);
    let config = if emulator.node_is_foreign() { &tls.foreign } else { &tls.own };
    let acceptor = TlsAcceptor::from(Arc::clone(config));
    let handshake = tokio::time::timeout(PATIENCE, acceptor.accept(stream)).await;
    let stream = match handshake {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return tracing::debug!(%error, "a handshake with Service Fabric's service failed"),
        Err(_) => return tracing::debug!("a handshake with Service Fabric's service took too long"),
    };
    let name = stream.get_ref().1.server_name().unwrap_or_default().to_owned();
    let facts = Arc::new(facts(stream.get_ref().1, &name));
    let service = service_fn(move |request: Request<Incoming>| {
        let (emulator, own_host, facts) = (Arc::clone(&emulator), Arc::clone(&own_host), Arc::clone(&facts));
        let answer =
            move |request| emulator.handle_service_fabric(emulator.now(), &facts, &own_host, request);
        respond(request, answer, Arc::clone(&reset))
    });
    if let Err(error) = http().serve_connection(TokioIo::new(stream), service).await {
        tracing::debug!(%error, "a connection to Service Fabric's service ended early");
    }
}

async fn respond(
    request: Request<Incoming>,
    answer: impl FnOnce(Request<Bytes>) -> Response<Bytes> + Send + 'static,
    reset: Arc<AtomicBool>,
) -> io::Result<Response<Answer>> {
    let request = match whole(request).await {
        Ok(request) => request,
        Err(response) => return Ok(response),
    };
    let handled = tokio::task::spawn_blocking(move || answer(request)).await;
    let Ok(response) = handled else { return Err(io::Error::other("the emulator failed")) };
    match response.extensions().get::<FaultEffect>().copied() {
        Some(FaultEffect::Reset) => {
            reset.store(true, Ordering::SeqCst);
            Err(io::Error::from(io::ErrorKind::ConnectionReset))
        }
        Some(FaultEffect::TruncateBody(length)) => Ok(Answer::truncated(response, length)),
        Some(FaultEffect::Delay(time)) => {
            tokio::time::sleep(time).await;
            Ok(response.map(Answer::whole))
        }
        None => Ok(response.map(Answer::whole)),
    }
}
