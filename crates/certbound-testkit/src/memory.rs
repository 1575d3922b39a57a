//! Transports that use no network.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use certbound::Transport;
use certbound::error::{Phase, TransportError};
use certbound::transport::{Answer, TlsFacts, Via};
use certbound_emulator::{Emulator, FaultEffect, IMDS_HOST};
use http::header::HOST;

use crate::clock::ManualClock;
use certbound::clock::Clock as _;

/// A transport that passes requests to an emulator in memory. The requests have the same form as on the emulator's
/// sockets.
#[derive(Clone)]
pub struct MemoryTransport {
    emulator: Arc<Emulator>,
    clock: ManualClock,
}

impl MemoryTransport {
    /// Connects to `emulator`. The emulator handles each request at the time of `clock`.
    pub fn new(emulator: Arc<Emulator>, clock: ManualClock) -> Self {
        Self { emulator, clock }
    }
}

impl Transport for MemoryTransport {
    async fn send(&self, request: http::Request<Bytes>, via: Via<'_>) -> Result<Answer, TransportError> {
        let host = request.uri().host().ok_or(TransportError::NotHttps)?.to_owned();
        if let Via::Pinned(pin) = via {
            let (pinned, presented) = (*pin, self.emulator.service_fabric_thumbprint());
            if pinned != presented {
                return Err(TransportError::ServerNotPinned { host, pinned, presented });
            }
        }
        if matches!(via, Via::Local | Via::Pinned(_)) {
            tokio::task::yield_now().await;
            let (now, request) = (self.clock.now(), as_received(request));
            let response = match via {
                Via::Local => self.emulator.handle_machine(now, IMDS_HOST, request),
                _ => {
                    let tls = certbound_emulator::TlsFacts::default();
                    self.emulator.handle_service_fabric(now, &tls, IMDS_HOST, request)
                }
            };
            return match response.extensions().get::<FaultEffect>() {
                Some(FaultEffect::Delay(limit)) => {
                    Err(TransportError::TimedOut { host, phase: Phase::Exchange, limit: *limit, proxy: None })
                }
                Some(_) => Err(TransportError::Interrupted { host, reason: "a fault".into() }),
                None => Ok(Answer { response, tls: TlsFacts::default() }),
            };
        }
        if !self.emulator.is_emulated(&host) {
            return Err(TransportError::Connect { host, reason: "the host is not emulated".into() });
        }
        if self.emulator.is_unreachable(&host) {
            return Err(TransportError::Connect { host, reason: "a fault".into() });
        }
        let asks = self.emulator.asks_for_certificate(&host);
        if via.binding().is_some() && !asks {
            return Err(TransportError::CertificateNotRequested { host });
        }
        let presented = via.binding().map(|binding| binding.chain().ders().to_vec());
        let tls = certbound_emulator::TlsFacts {
            server_name: host.clone(),
            client_chain: presented,
            ..certbound_emulator::TlsFacts::default()
        };
        // Yields once to the scheduler, so that simultaneous calls overlap as on a network.
        tokio::task::yield_now().await;
        let response = self.emulator.handle(self.clock.now(), &tls, as_received(request));
        match response.extensions().get::<FaultEffect>() {
            Some(FaultEffect::Reset) => Err(TransportError::Interrupted { host, reason: "reset".into() }),
            Some(FaultEffect::TruncateBody(_)) => {
                Err(TransportError::Interrupted { host, reason: "the body ended early".into() })
            }
            Some(FaultEffect::Delay(limit)) => {
                Err(TransportError::TimedOut { host, phase: Phase::Exchange, limit: *limit, proxy: None })
            }
            None => {
                let presented = via.binding().map(certbound::certificate::BindingCertificate::thumbprint);
                Ok(Answer {
                    response,
                    tls: TlsFacts { certificate_requested: asks, presented, resumed: false },
                })
            }
        }
    }
}

/// Moves the host into a header, because a server sees only the path in the request line.
fn as_received(request: http::Request<Bytes>) -> http::Request<Bytes> {
    let (mut head, body) = request.into_parts();
    if let Some(host) = head.uri.authority().and_then(|authority| authority.as_str().parse().ok()) {
        head.headers.insert(HOST, host);
    }
    if let Some(path) = head.uri.path_and_query().and_then(|path| path.as_str().parse().ok()) {
        head.uri = path;
    }
    http::Request::from_parts(head, body)
}

/// A transport that panics at every request.
#[derive(Clone, Copy, Debug)]
pub struct NeverTransport;

impl Transport for NeverTransport {
    async fn send(&self, request: http::Request<Bytes>, _: Via<'_>) -> Result<Answer, TransportError> {
        panic!("this test must send no request, but it sent a request to {}", request.uri())
    }
}

/// A transport that returns the given answers in order, independently of the requests, and records every request.
#[derive(Clone, Default)]
pub struct ScriptedTransport {
    answers: Arc<Mutex<VecDeque<Scripted>>>,
    requests: Arc<Mutex<Vec<http::Request<Bytes>>>>,
}

type Scripted = Result<http::Response<Bytes>, TransportError>;

impl ScriptedTransport {
    /// Adds an answer.
    pub fn then(self, status: u16, body: impl Into<Bytes>) -> Self {
        self.also(Ok(response(status, body)))
    }

    /// Adds an answer with a header.
    pub fn then_with(self, status: u16, body: impl Into<Bytes>, (name, value): (&'static str, &str)) -> Self {
        let mut response = response(status, body);
        let value = http::HeaderValue::from_str(value).expect("a header value");
        response.headers_mut().insert(name, value);
        self.also(Ok(response))
    }

    /// Adds a network failure.
    pub fn then_fails(self, error: TransportError) -> Self {
        self.also(Err(error))
    }

    /// Returns the number of answers that no request has received yet.
    pub fn left(&self) -> usize {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Returns all requests so far.
    pub fn requests(&self) -> Vec<http::Request<Bytes>> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn also(self, scripted: Scripted) -> Self {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner).push_back(scripted);
        self
    }
}

fn response(status: u16, body: impl Into<Bytes>) -> http::Response<Bytes> {
    let mut response = http::Response::new(body.into());
    *response.status_mut() = http::StatusCode::from_u16(status).expect("a status from 100 to 999");
    response
}

impl Transport for ScriptedTransport {
    async fn send(&self, request: http::Request<Bytes>, _: Via<'_>) -> Result<Answer, TransportError> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner).push(request.clone());
        let scripted = self.answers.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
        let response = scripted.unwrap_or_else(|| panic!("no answer left for {}", request.uri()))?;
        Ok(Answer { response, tls: TlsFacts::default() })
    }
}
