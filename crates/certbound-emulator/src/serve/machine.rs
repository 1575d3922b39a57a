//! The machine's metadata service: plain HTTP.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::connection::{Answer, Resettable, http, whole};
use crate::emulator::Emulator;
use crate::fault::FaultEffect;

/// One client; `own_host` is the `host:port` that this listener goes by.
pub(super) async fn connection(stream: TcpStream, emulator: Arc<Emulator>, own_host: Arc<str>) {
    let _ = stream.set_nodelay(true);
    let (stream, reset) = Resettable::new(stream);
    let service = service_fn(move |request: Request<Incoming>| {
        respond(request, Arc::clone(&emulator), Arc::clone(&own_host), Arc::clone(&reset))
    });
    if let Err(error) = http().serve_connection(TokioIo::new(stream), service).await {
        tracing::debug!(%error, "a connection to the metadata service ended early");
    }
}

async fn respond(
    request: Request<Incoming>,
    emulator: Arc<Emulator>,
    own_host: Arc<str>,
    reset: Arc<AtomicBool>,
) -> io::Result<Response<Answer>> {
    let request = match whole(request).await {
        Ok(request) => request,
        Err(response) => return Ok(response),
    };
    let emulator_now = emulator.now();
    let handled =
        tokio::task::spawn_blocking(move || emulator.handle_machine(emulator_now, &own_host, request)).await;
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
