//! The emulator without sockets: START HERE. Its input is a time, the facts of the connection and a request. Its output
//! is a response.

mod control;

use std::fmt;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use bytes::Bytes;
use certbound_core::environment::Cloud;
use certbound_core::time::UnixTime;
use http::header::HOST;
use http::{Request, Response};
use serde_json::json;

use crate::answers::{AnswerContext, json_response, refusal};
use crate::clock::{Clock, OffsetClock, SystemClock};
pub use crate::error::EmulatorError;
use crate::fault::{FaultResult, Faults, LegKind, PlatformKind, RequestFacts};
use crate::issue::{self, Alteration};
use crate::journal::{Journal, JournalEntry};
pub use crate::keys::EmulatorKeys;
use crate::keys::{IssuerKeys, SigningKeys};
use crate::local_issuer::LocalIssuers;
use crate::paths::{IMDS_HOST, SERVICE_FABRIC};
use crate::platform::arc::ArcKey;
use crate::platform::{Memory, Platform};
use crate::resource::ResourceServer;
use crate::tls_facts::TlsFacts;
use crate::token_service::{Discovery, FetchedKeys, TokenService, TrustedAuthorities, UsedAssertions};
use crate::world::World;
use crate::world::hosts::{Host, TOKEN_PATH};

/// The largest request body that is accepted, in bytes.
pub const MAX_BODY: usize = 1024 * 1024;

/// A token service, its resources and a machine.
///
/// The emulator opens no socket. It reads no clock while it handles a request.
pub struct Emulator {
    world: World,
    keys: EmulatorKeys,
    signing: SigningKeys,
    trust: TrustedAuthorities,
    clock: OffsetClock,
    journal: Arc<Journal>,
    faults: Faults,
    /// The time of the start or of the last reset. The delay of federated credentials counts from it.
    since: RwLock<UnixTime>,
    issuers: IssuerKeys,
    fetched: FetchedKeys,
    used: UsedAssertions,
    machine: Memory,
    arc: OnceLock<ArcKey>,
}

impl Emulator {
    /// Returns the key that signs tokens at present.
    #[cfg(test)]
    pub(crate) fn current_key(&self) -> Option<Arc<crate::keys::TokenKey>> {
        self.signing.current()
    }

    /// Creates an emulator of `world` with the clock of the operating system and with new keys.
    ///
    /// # Errors
    /// [`EmulatorError`] if a key cannot be made, or if the world contains an invalid certificate.
    pub fn new(world: World) -> Result<Self, EmulatorError> {
        Self::with_clock(world, Arc::new(SystemClock))
    }

    /// Creates an emulator with a different clock and with new keys.
    ///
    /// # Errors
    /// As [`Emulator::new`].
    pub fn with_clock(world: World, clock: Arc<dyn Clock>) -> Result<Self, EmulatorError> {
        let keys = EmulatorKeys::generate(&world, clock.now())?;
        Self::with_keys(world, keys, clock)
    }

    /// Creates an emulator with `keys`. The keys of external issuers that the emulator serves are made here.
    ///
    /// # Errors
    /// [`EmulatorError`] if the world contains an invalid certificate, or if a key cannot be made.
    pub fn with_keys(world: World, keys: EmulatorKeys, clock: Arc<dyn Clock>) -> Result<Self, EmulatorError> {
        let trust = TrustedAuthorities::new(keys.authority(), &world.trusted_authorities)?;
        let signing = SigningKeys::new(keys.first());
        let issuers = keys.of_served_issuers(&world, clock.now())?;
        Ok(Self {
            world,
            keys,
            signing,
            trust,
            since: RwLock::new(clock.now()),
            clock: OffsetClock::new(clock),
            journal: Arc::default(),
            faults: Faults::default(),
            issuers,
            fetched: FetchedKeys::default(),
            used: UsedAssertions::default(),
            machine: Memory::default(),
            arc: OnceLock::new(),
        })
    }

    /// Answers one request at the time `now`.
    ///
    /// Some faults have to be carried out by the transport. The response then has a [`FaultEffect`](crate::FaultEffect)
    /// among its extensions.
    pub fn handle(&self, now: UnixTime, tls: &TlsFacts, request: Request<Bytes>) -> Response<Bytes> {
        let name = tls.server_name.to_ascii_lowercase();
        let entry = JournalEntry::begin(now, tls, &name, &request);
        let (response, fault) = match Host::of(&self.world, &name) {
            Some(host) if names_host(&request, &name) => self.answer(now, tls, &name, &host, &request),
            Some(_) => {
                (sentence(421, "The Host header names another host than the TLS handshake did."), None)
            }
            None => (sentence(421, "This host is not emulated."), None),
        };
        self.journal.record(entry.end(&response, fault.as_ref().map(FaultResult::name)));
        response
    }

    /// Gives the machine an agent of Azure Arc, whose challenge names the file of `key`. The caller has to write the
    /// file. A second call has no effect.
    pub fn install_arc_agent(&self, key: ArcKey) {
        let _ = self.arc.set(key);
    }

    /// Answers one request to the machine by plain HTTP, at the time `now`. The request came to the link-local address
    /// or to `own_host`, the listener's own `host:port`.
    pub fn handle_machine(&self, now: UnixTime, own_host: &str, request: Request<Bytes>) -> Response<Bytes> {
        self.on_machine(now, &TlsFacts::default(), own_host, &request, |platform, request| {
            platform.answer(request)
        })
    }

    /// Answers one request to Service Fabric's token service, at the time `now`. The request came by TLS to `own_host`,
    /// the listener's own `host:port`.
    pub fn handle_service_fabric(
        &self,
        now: UnixTime,
        tls: &TlsFacts,
        own_host: &str,
        request: Request<Bytes>,
    ) -> Response<Bytes> {
        self.on_machine(now, tls, own_host, &request, |platform, request| platform.answer_as_node(request))
    }

    /// Returns whether a fault makes the node's TLS server present a foreign certificate on this connection.
    pub(crate) fn node_is_foreign(&self) -> bool {
        let asked = RequestFacts::of_platform(IMDS_HOST, SERVICE_FABRIC);
        self.faults.take_of_handshake(&asked, &FaultResult::ForeignServerCertificate)
    }

    /// Returns whether a fault makes the TLS server of `host` refuse the client's certificate on this connection.
    pub(crate) fn refuses_certificates(&self, host: &str) -> bool {
        let asked = RequestFacts { host, ..RequestFacts::default() };
        self.asks_for_certificate(host)
            && self.faults.take_of_handshake(&asked, &FaultResult::ClientCertificateRefused)
    }

    fn on_machine(
        &self,
        now: UnixTime,
        tls: &TlsFacts,
        own_host: &str,
        request: &Request<Bytes>,
        answer: impl FnOnce(&Platform<'_>, &Request<Bytes>) -> Response<Bytes>,
    ) -> Response<Bytes> {
        let entry = JournalEntry::begin(now, tls, IMDS_HOST, request);
        let asked = RequestFacts::of_platform(IMDS_HOST, request.uri().path());
        let fault = self.faults.take(&asked);
        let context = AnswerContext::new(now, Cloud::Public.login_host(), request.headers());
        let instead = fault.as_ref().and_then(|fault| fault.instead(&context));
        let mut response = instead.unwrap_or_else(|| {
            let (world, keys, machines) = (&self.world, &self.signing, self.keys.machines());
            let (memory, arc, fault) = (&self.machine, self.arc.get(), fault.as_ref());
            answer(&Platform { world, keys, machines, memory, arc, fault, now, own_host }, request)
        });
        if asked.platform == Some(PlatformKind::Imds) {
            // Clients recognize the metadata service by this header. A fault must not hide the service from them.
            crate::platform::sign(&mut response);
        }
        if let Some(fault) = &fault {
            fault.spoil(&mut response);
        }
        if let Some(effect) = fault.as_ref().and_then(|fault| fault.effect(&response)) {
            response.extensions_mut().insert(effect);
        }
        self.journal.record(entry.end(&response, fault.as_ref().map(FaultResult::name)));
        response
    }

    fn answer(
        &self,
        now: UnixTime,
        tls: &TlsFacts,
        name: &str,
        host: &Host<'_>,
        request: &Request<Bytes>,
    ) -> (Response<Bytes>, Option<FaultResult>) {
        if request.body().len() > MAX_BODY {
            return (sentence(413, "The body is larger than 1 MiB."), None);
        }
        let path = request.uri().path();
        let leg = LegKind::of(host, path, request.body());
        let fault = self.faults.take(&RequestFacts { host: name, path, leg, ..RequestFacts::default() });
        let context = AnswerContext::new(now, host.cloud().login_host(), request.headers());
        let instead = fault.as_ref().and_then(|fault| fault.instead(&context));
        let mut response = instead.unwrap_or_else(|| match *host {
            Host::Login(_) | Host::MutualTls(_) => {
                let alteration = fault.as_ref().and_then(FaultResult::alteration);
                self.token_service(&context, tls, name, host, request, alteration)
            }
            Host::Issuers => {
                let (world, keys) = (&self.world, &self.issuers);
                LocalIssuers { world, keys, host: name, now }.answer(request)
            }
            Host::Resource(resource, _) => {
                let (world, keys) = (&self.world, &self.signing);
                ResourceServer { world, keys, resource, now, tls, host: name }.answer(request)
            }
        });
        if let Some(fault) = &fault {
            fault.spoil(&mut response);
        }
        if let Some(effect) = fault.as_ref().and_then(|fault| fault.effect(&response)) {
            response.extensions_mut().insert(effect);
        }
        (response, fault)
    }

    fn token_service(
        &self,
        context: &AnswerContext<'_>,
        tls: &TlsFacts,
        name: &str,
        host: &Host<'_>,
        request: &Request<Bytes>,
        alteration: Option<Alteration>,
    ) -> Response<Bytes> {
        let (now, cloud, mutual_tls) = (context.now, host.cloud(), matches!(host, Host::MutualTls(_)));
        let (world, keys, trust) = (&self.world, &self.signing, &self.trust);
        if request.uri().path().ends_with(TOKEN_PATH) {
            let since = *self.since.read().unwrap_or_else(PoisonError::into_inner);
            let machines = self.keys.machines();
            let service = TokenService {
                world,
                keys,
                trust,
                machines,
                now,
                tls,
                cloud,
                mutual_tls,
                since,
                issuers: &self.issuers,
                fetched: &self.fetched,
                used: &self.used,
            };
            return match service.decide(request) {
                Err(refusal) => context.refuse(&refusal),
                Ok(grant) => {
                    let key = keys.current();
                    let body = key.and_then(|key| issue::answer(&grant, &key, now, alteration));
                    body.map_or_else(
                        || {
                            context
                                .refuse(&refusal(90_033, "A transient error has occurred: signing failed."))
                        },
                        |body| context.json(200, &body),
                    )
                }
            };
        }
        let discovery = Discovery { world, keys, cloud, host: name };
        let found = if mutual_tls { None } else { discovery.answer(context, request) };
        found.unwrap_or_else(|| sentence(404, "This emulator has nothing at this path."))
    }
}

/// Returns whether the request names the host of the TLS handshake. RFC 9112 puts the name in `Host`; some callers put
/// it in the URI.
fn names_host(request: &Request<Bytes>, name: &str) -> bool {
    let mut stated = request.headers().get_all(HOST).iter().map(|value| value.to_str().unwrap_or_default());
    let same = |host: &str| host.strip_suffix(":443").unwrap_or(host).eq_ignore_ascii_case(name);
    stated.all(same) && request.uri().authority().is_none_or(|authority| same(authority.as_str()))
}

fn sentence(status: u16, text: &str) -> Response<Bytes> {
    json_response(status, &json!({ "error": "emulator", "error_description": text }))
}

impl fmt::Debug for Emulator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Emulator").field("world", &self.world.tenants.len()).finish_non_exhaustive()
    }
}
