//! The machine's services: plain HTTP for the metadata service, TLS for Service Fabric's token service.

use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use bytes::Bytes;
use certbound_serve::{Body, Connection};
use http::{Request, Response};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

use super::connection::{Resettable, ResponseBody, carry_out, whole};
use super::front_door::facts;
use super::tls::Configurations;
use crate::emulator::Emulator;

/// Serves one client. `own_host` is the listener's own `host:port`.
pub(super) async fn connection(
    stream: TcpStream,
    connection: Connection,
    emulator: Arc<Emulator>,
    own_host: Arc<str>,
) {
    let (stream, reset) = Resettable::new(stream);
    let service = move |request: Request<Body>| {
        let (emulator, own_host) = (Arc::clone(&emulator), Arc::clone(&own_host));
        let answer = move |request| emulator.handle_machine(emulator.now(), &own_host, request);
        respond(request, answer, Arc::clone(&reset))
    };
    if let Err(error) = connection.http1(stream, service).await {
        tracing::debug!(%error, "a connection to the metadata service ended early");
    }
}

/// Serves one client of Service Fabric's token service.
pub(super) async fn node_connection(
    stream: TcpStream,
    connection: Connection,
    emulator: Arc<Emulator>,
    tls: Arc<Configurations>,
    own_host: Arc<str>,
) {
    let (stream, reset) = Resettable::new(stream);
    let stream = async {
        let config = tls.of_service_fabric(emulator.node_is_foreign()).map_err(io::Error::other)?;
        connection.handshake(TlsAcceptor::from(config).accept(stream)).await?
    };
    let stream = match stream.await {
        Ok(stream) => stream,
        Err(error) => return tracing::debug!(%error, "a handshake with Service Fabric's service failed"),
    };
    let name = stream.get_ref().1.server_name().unwrap_or_default().to_owned();
    let facts = Arc::new(facts(stream.get_ref().1, &name));
    let service = move |request: Request<Body>| {
        let (emulator, own_host, facts) = (Arc::clone(&emulator), Arc::clone(&own_host), Arc::clone(&facts));
        let answer =
            move |request| emulator.handle_service_fabric(emulator.now(), &facts, &own_host, request);
        respond(request, answer, Arc::clone(&reset))
    };
    if let Err(error) = connection.http1(stream, service).await {
        tracing::debug!(%error, "a connection to Service Fabric's service ended early");
    }
}

async fn respond(
    request: Request<Body>,
    answer: impl FnOnce(Request<Bytes>) -> Response<Bytes> + Send + 'static,
    reset: Arc<AtomicBool>,
) -> io::Result<Response<ResponseBody>> {
    let request = match whole(request).await {
        Ok(request) => request,
        Err(response) => return Ok(response),
    };
    let handled = tokio::task::spawn_blocking(move || answer(request)).await;
    carry_out(handled.map_err(|_| io::Error::other("the emulator failed"))?, &reset).await
}
