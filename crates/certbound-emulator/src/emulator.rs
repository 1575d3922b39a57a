//! The emulator without sockets: START HERE. Its input is a time, the facts of the connection and a request. Its output
//! is a response.

mod control;

use std::fmt;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use bytes::Bytes;
use certbound_core::environment::Cloud;
use certbound_core::time::UnixTime;
use http::header::{AUTHORIZATION, HOST};
use http::{Request, Response};

use crate::answers::{AnswerContext, error_response};
use crate::clock::{Clock, OffsetClock, SystemClock};
use crate::directory::Directory;
pub use crate::error::EmulatorError;
use crate::fault::{FaultResult, Faults, LegKind, PlatformKind, RequestFacts};
use crate::journal::{Journal, JournalEntry};
pub use crate::keys::EmulatorKeys;
use crate::keys::{IssuerKeys, SigningKeys};
use crate::local_issuer::LocalIssuers;
use crate::paths::{IMDS_HOST, SERVICE_FABRIC};
use crate::platform::arc::ArcKey;
use crate::platform::{Memory, Platform};
use crate::resource::{ResourceServer, Vaults};
use crate::tls_facts::TlsFacts;
use crate::token_service::{FetchedKeys, TokenService, TrustedAuthorities, UsedAssertions};
use crate::world::World;
use crate::world::hosts::{self, Host, TOKEN_PATH};

/// The largest request body that the emulator accepts, in bytes.
pub const MAX_BODY: usize = 1024 * 1024;

/// A token service, its resources and a machine.
///
/// The emulator opens no socket. It reads no clock while it handles a request.
pub struct Emulator {
    world: World,
    keys: EmulatorKeys,
    signing: Arc<SigningKeys>,
    trust: TrustedAuthorities,
    clock: OffsetClock,
    journal: Arc<Journal>,
    faults: Faults,
    directory: Directory,
    issuers: IssuerKeys,
    fetched: FetchedKeys,
    used: UsedAssertions,
    machine: Memory,
    /// The time of the start or of the last reset. The vaults derive the creation dates of their objects from this
    /// time.
    since: RwLock<UnixTime>,
    vaults: Vaults,
    arc: OnceLock<Arc<ArcKey>>,
    observer: OnceLock<Arc<RequestObserver>>,
}

type RequestObserver = dyn Fn(&ObservedRequest) + Send + Sync;

/// A request that the emulator has answered, for metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ObservedRequest {
    /// The kind of the endpoint: `token`, `discovery`, `resource`, `issuer`, `platform`, or `unknown` for a host that
    /// is not emulated. At a host of the token service, each path other than a token endpoint counts as `discovery`,
    /// even if it is not emulated. At other hosts, the host alone determines the kind.
    pub endpoint: &'static str,
    /// The status of the answer.
    pub status: u16,
    /// The name of the applied fault, if a rule matched the request.
    pub fault: Option<&'static str>,
}

impl Emulator {
    /// Returns the key that signs tokens now.
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

    /// Creates an emulator of `world` with this clock and with new keys.
    ///
    /// # Errors
    /// The errors of [`Emulator::new`].
    pub fn with_clock(world: World, clock: Arc<dyn Clock>) -> Result<Self, EmulatorError> {
        let keys = EmulatorKeys::generate(&world, clock.now())?;
        Self::with_keys(world, keys, clock)
    }

    /// Creates an emulator with `keys`. Generates the keys of the external issuers that the emulator serves.
    ///
    /// # Errors
    /// [`EmulatorError`] if the world contains an invalid certificate, or if a key cannot be made.
    pub fn with_keys(world: World, keys: EmulatorKeys, clock: Arc<dyn Clock>) -> Result<Self, EmulatorError> {
        let signing = Arc::new(SigningKeys::new(Arc::clone(&keys.first)));
        Self::build(world, keys, (signing, &IssuerKeys::new()), clock)
    }

    /// Creates an emulator with `keys`, with the signing keys of the token service, and with the known keys of served
    /// issuers. Generates the missing keys of served issuers.
    fn build(
        world: World,
        keys: EmulatorKeys,
        (signing, issuers): (Arc<SigningKeys>, &IssuerKeys),
        clock: Arc<dyn Clock>,
    ) -> Result<Self, EmulatorError> {
        let trust = TrustedAuthorities::new(&keys.authority, &world.trusted_authorities)?;
        let issuers = keys.of_served_issuers(&world, issuers, clock.now())?;
        let directory = Directory::new(&world, clock.now());
        Ok(Self {
            world,
            keys,
            signing,
            trust,
            directory,
            since: RwLock::new(clock.now()),
            clock: OffsetClock::new(clock),
            journal: Arc::default(),
            faults: Faults::default(),
            issuers,
            fetched: FetchedKeys::default(),
            used: UsedAssertions::default(),
            machine: Memory::default(),
            vaults: Vaults::default(),
            arc: OnceLock::new(),
            observer: OnceLock::new(),
        })
    }

    /// Creates an emulator of `world` with the keys of this emulator. The new emulator has the same certificates, and
    /// accepts the tokens of this emulator. It also has the observer of this emulator and its agent of Azure Arc. In
    /// all other respects it is a new emulator: its journal is empty, there are no faults, and its clock has no offset.
    ///
    /// # Errors
    /// [`EmulatorError`] if the world contains an invalid certificate or a new host name, or if a key cannot be made.
    pub fn with_world(&self, world: World) -> Result<Self, EmulatorError> {
        let allowed = &self.keys.domains;
        if let Some(host) = hosts::domains(&world).iter().find(|&host| !allowed.contains(host)) {
            return Err(EmulatorError::world(format!(
                "`{host}` is a new host, and the certificate authority of the running emulator cannot issue a certificate \
                 for it; restart the emulator"
            )));
        }
        let keys = (Arc::clone(&self.signing), &self.issuers);
        let emulator = Self::build(world, self.keys.clone(), keys, self.clock.base())?;
        Ok(Self { arc: self.arc.clone(), observer: self.observer.clone(), ..emulator })
    }

    /// Answers one request at the time `now`.
    ///
    /// The transport has to carry out some faults. The response to a request with a fault of this kind has a
    /// [`FaultEffect`](crate::FaultEffect) in its extensions.
    pub fn handle(&self, now: UnixTime, tls: &TlsFacts, request: Request<Bytes>) -> Response<Bytes> {
        let name = tls.server_name.to_ascii_lowercase();
        let entry = JournalEntry::begin(now, tls, &name, &request);
        let path = self.observer.get().map(|_| request.uri().path().to_owned());
        let (response, fault) = match Host::of(&self.world, &name) {
            None => (
                sentence(
                    421,
                    "This host is not emulated. Use an emulated host, or add this host to the world.",
                ),
                None,
            ),
            Some(_) if !names_host(&request, &name) => (
                sentence(
                    421,
                    "The Host header and the TLS handshake name different hosts. Send the same name in both.",
                ),
                None,
            ),
            Some(_) if request.body().len() > MAX_BODY => {
                (sentence(413, "The body is larger than 1 MiB. Send a smaller body."), None)
            }
            Some(host) => self.answer(now, tls, &name, &host, &request),
        };
        self.record(entry, self.endpoint(&name, path.as_deref()), &response, fault);
        response
    }

    /// Calls `observer` for each answered request. The observer must not block. A second call has no effect.
    pub fn observe_requests(&self, observer: impl Fn(&ObservedRequest) + Send + Sync + 'static) {
        let _ = self.observer.set(Arc::new(observer));
    }

    /// Returns the kind of the endpoint of a request. The path is known only if an observer needs it.
    fn endpoint(&self, host: &str, path: Option<&str>) -> &'static str {
        match (Host::of(&self.world, host), path) {
            (_, None) | (None, _) => "unknown",
            (Some(Host::Login(_) | Host::MutualTls(_)), Some(path)) if path.ends_with(TOKEN_PATH) => "token",
            (Some(Host::Login(_) | Host::MutualTls(_)), _) => "discovery",
            (Some(Host::Resource(..)), _) => "resource",
            (Some(Host::Issuers), _) => "issuer",
        }
    }

    /// Installs an agent of Azure Arc on the machine. The agent's challenge names the file of `key`. The caller has to
    /// write this file. A second call has no effect.
    pub fn install_arc_agent(&self, key: ArcKey) {
        let _ = self.arc.set(Arc::new(key));
    }

    /// Answers one plain HTTP request to the machine, at the time `now`. The request was sent to the link-local address
    /// or to `own_host`, the `host:port` of the listener.
    pub fn handle_machine(&self, now: UnixTime, own_host: &str, request: Request<Bytes>) -> Response<Bytes> {
        self.on_machine(now, &TlsFacts::default(), own_host, &request, |platform| platform.answer(&request))
    }

    /// Answers one request to Service Fabric's token service, at the time `now`. The request was sent over TLS to
    /// `own_host`, the `host:port` of the listener.
    pub fn handle_service_fabric(
        &self,
        now: UnixTime,
        tls: &TlsFacts,
        own_host: &str,
        request: Request<Bytes>,
    ) -> Response<Bytes> {
        self.on_machine(now, tls, own_host, &request, |platform| platform.answer_as_node(&request))
    }

    /// Returns whether a fault makes Service Fabric's server present a foreign certificate on this connection. Reduces
    /// the fault's count.
    pub(crate) fn node_is_foreign(&self) -> bool {
        let asked = RequestFacts::of_platform(IMDS_HOST, SERVICE_FABRIC);
        self.faults.take_of_handshake(&asked, &FaultResult::ForeignServerCertificate)
    }

    /// Returns whether a fault makes the TLS server of `host` refuse the client's certificate on this connection.
    /// Reduces the fault's count.
    pub(crate) fn refuses_certificates(&self, host: &str) -> bool {
        let asked = RequestFacts { host, ..RequestFacts::default() };
        (self.asks_for_certificate(host) || self.asks_late(host))
            && self.faults.take_of_handshake(&asked, &FaultResult::ClientCertificateRefused)
    }

    /// Returns whether a fault makes the host unreachable for this connection. Reduces the fault's count.
    pub fn is_unreachable(&self, host: &str) -> bool {
        let asked = RequestFacts { host, ..RequestFacts::default() };
        self.faults.take_of_handshake(&asked, &FaultResult::Unreachable)
    }

    fn on_machine(
        &self,
        now: UnixTime,
        tls: &TlsFacts,
        own_host: &str,
        request: &Request<Bytes>,
        answer: impl FnOnce(&Platform<'_>) -> Response<Bytes>,
    ) -> Response<Bytes> {
        let entry = JournalEntry::begin(now, tls, IMDS_HOST, request);
        let asked = RequestFacts::of_platform(IMDS_HOST, request.uri().path());
        let context = AnswerContext::new(now, Cloud::Public.login_host(), request.headers());
        let (response, fault) = self.with_fault(&asked, &context, |fault| {
            let (world, keys, machines) = (&self.world, &self.signing, &*self.keys.machines);
            let (memory, arc) = (&self.machine, self.arc.get().map(|key| &**key));
            answer(&Platform { world, keys, machines, memory, arc, fault, now, own_host })
        });
        self.record(entry, "platform", &response, fault);
        response
    }

    /// Records a request and its answer in the journal, reports them to the observer, and writes a line to the log.
    fn record(
        &self,
        entry: JournalEntry,
        endpoint: &'static str,
        response: &Response<Bytes>,
        fault: Option<&'static str>,
    ) {
        let entry = entry.end(response, fault);
        if let Some(observer) = self.observer.get() {
            observer(&ObservedRequest { endpoint, status: entry.status, fault });
        }
        entry.log(response);
        self.journal.record(entry);
    }

    fn answer(
        &self,
        now: UnixTime,
        tls: &TlsFacts,
        name: &str,
        host: &Host<'_>,
        request: &Request<Bytes>,
    ) -> (Response<Bytes>, Option<&'static str>) {
        let path = request.uri().path();
        let leg = LegKind::of(host, path, request.body());
        let has_token = request.headers().contains_key(AUTHORIZATION);
        let is_vault = host.is_vault();
        let asked = RequestFacts { host: name, path, leg, has_token, is_vault, ..RequestFacts::default() };
        let context = AnswerContext::new(now, host.cloud().login_host(), request.headers());
        let (world, keys) = (&self.world, &self.signing);
        self.with_fault(&asked, &context, |fault| match *host {
            Host::Login(cloud) | Host::MutualTls(cloud) => TokenService {
                world,
                keys,
                trust: &self.trust,
                machines: &self.keys.machines,
                now,
                tls,
                host: name,
                cloud,
                mutual_tls: matches!(host, Host::MutualTls(_)),
                directory: &self.directory,
                issuers: &self.issuers,
                fetched: &self.fetched,
                used: &self.used,
                alteration: fault.and_then(FaultResult::alteration),
            }
            .answer(&context, request)
            .unwrap_or_else(|| {
                sentence(404, "This emulator has no endpoint at this path. Check the path of the request.")
            }),
            Host::Issuers => LocalIssuers { world, keys: &self.issuers, host: name, now }.answer(request),
            Host::Resource(resource, _) => ResourceServer {
                world,
                keys,
                directory: &self.directory,
                resource,
                token_binding: fault
                    .and_then(FaultResult::token_binding)
                    .or(resource.token_binding_parameters),
                now,
                tls,
                host: name,
                since: self.since(),
                vaults: &self.vaults,
                vault_keys: &self.keys.vault,
            }
            .answer(request),
        })
    }

    /// Returns the time of the start or of the last reset.
    fn since(&self) -> UnixTime {
        *self.since.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Answers a request by a call of `answer`. If a rule matches the request, the rule's fault replaces or changes the
    /// answer. Also returns the name of the fault.
    fn with_fault(
        &self,
        asked: &RequestFacts<'_>,
        context: &AnswerContext<'_>,
        answer: impl FnOnce(Option<&FaultResult>) -> Response<Bytes>,
    ) -> (Response<Bytes>, Option<&'static str>) {
        let fault = self.faults.take(asked);
        let instead = fault.as_ref().and_then(|fault| fault.instead(context));
        let mut response = instead.unwrap_or_else(|| answer(fault.as_ref()));
        if asked.platform == Some(PlatformKind::Imds) {
            // Clients recognize the metadata service by the header `Server`. If a fault replaces the answer, the new
            // answer must have this header too.
            crate::platform::sign(&mut response);
        }
        if let Some(fault) = &fault {
            fault.change(&mut response);
        }
        (response, fault.as_ref().map(FaultResult::name))
    }
}

/// Returns whether the request names no other host than the TLS handshake. The name is in `Host`, in the URI, or in
/// both. The server refuses an HTTP/1.1 request without `Host` before this check.
fn names_host(request: &Request<Bytes>, name: &str) -> bool {
    let mut stated = request.headers().get_all(HOST).iter().map(|value| value.to_str().unwrap_or_default());
    let same = |host: &str| host.strip_suffix(":443").unwrap_or(host).eq_ignore_ascii_case(name);
    stated.all(same) && request.uri().authority().is_none_or(|authority| same(authority.as_str()))
}

fn sentence(status: u16, text: &str) -> Response<Bytes> {
    error_response(status, "emulator", text)
}

impl fmt::Debug for Emulator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Emulator").field("world", &self.world.tenants.len()).finish_non_exhaustive()
    }
}
