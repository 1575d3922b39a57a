//! The HTTP clients of a network: one for each binding certificate and use, and one for each pinned server.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use certbound_core::certificate::Thumbprint;
use certbound_core::managed_identity::ServerThumbprint;
use certbound_https::Client;
use foldhash::quality::RandomState;
use tokio::runtime::{Handle, Id};

use super::Via;
use crate::certificate::{BindingCertificate, ForgetKey, KeyId};

/// The certificate that a client presents, or the servers to which it connects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Peer {
    Plain,
    Local,
    Pinned(ServerThumbprint),
    TokenService(Thumbprint, KeyId),
    Resource(Thumbprint, KeyId),
}

impl From<Via<'_>> for Peer {
    fn from(via: Via<'_>) -> Self {
        let of = |binding: &BindingCertificate| (binding.thumbprint(), binding.key_id());
        match via {
            Via::Tls => Self::Plain,
            Via::Local => Self::Local,
            Via::Pinned(pin) => Self::Pinned(*pin),
            Via::Bound(binding) => {
                let (thumbprint, key) = of(binding);
                Self::TokenService(thumbprint, key)
            }
            Via::Resource(binding) => {
                let (thumbprint, key) = of(binding);
                Self::Resource(thumbprint, key)
            }
        }
    }
}

/// The key of an HTTP client. The connections of an HTTP client are tasks of one runtime, but several runtimes can use
/// the same network. A blocked runtime must not delay the requests of a different runtime, so the key contains the
/// runtime.
type ClientKey = (Peer, Option<Id>);

/// A bounded number of clients. If the maximum is reached, the least recently used client is removed.
///
/// The client for a binding certificate contains the private key. Therefore the client and its idle connections are
/// dropped with the last clone of the certificate; a connection in use ends with its request. A `moka` cache is not
/// used, because it drops removed values later and would keep the private key in memory.
pub(super) struct Clients {
    known: Mutex<Known>,
    at_most: usize,
}

#[derive(Default)]
struct Known {
    clients: HashMap<ClientKey, Entry, RandomState>,
    /// The number of uses so far.
    turn: u64,
}

struct Entry {
    client: Client,
    last_used: u64,
}

impl Clients {
    pub(super) fn new(at_most: usize) -> Arc<Self> {
        Arc::new(Self { known: Mutex::default(), at_most })
    }

    /// Returns the client for `via`. If no client exists, `make` creates it.
    pub(super) fn get<E>(
        self: &Arc<Self>,
        via: Via<'_>,
        make: impl FnOnce() -> Result<Client, E>,
    ) -> Result<Client, E> {
        let peer = Peer::from(via);
        let key = (peer, Handle::try_current().ok().map(|runtime| runtime.id()));
        let mut known = self.lock();
        known.turn += 1;
        let last_used = known.turn;
        if let Some(entry) = known.clients.get_mut(&key) {
            entry.last_used = last_used;
            return Ok(entry.client.clone());
        }
        if let Some(binding) = via.binding() {
            binding.when_key_is_dropped(self);
        }
        let client = make()?;
        let oldest = if known.clients.len() < self.at_most { None } else { known.take_oldest() };
        known.clients.insert(key, Entry { client: client.clone(), last_used });
        drop(known);
        // The removed client is dropped outside of the lock, because its connections are dropped with it.
        drop(oldest);
        Ok(client)
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        // The map is usable even after a panic under the lock.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn take_oldest(&mut self) -> Option<Entry> {
        let oldest = self.clients.iter().min_by_key(|(_, entry)| entry.last_used).map(|(peer, _)| *peer)?;
        self.clients.remove(&oldest)
    }
}

impl ForgetKey for Clients {
    fn forget(&self, thumbprint: Thumbprint, key: KeyId) {
        let mut known = self.lock();
        let of_key = |(peer, _): &ClientKey| {
            [Peer::TokenService(thumbprint, key), Peer::Resource(thumbprint, key)].contains(peer)
        };
        let clients: Vec<_> = known.clients.extract_if(|client, _| of_key(client)).collect();
        drop(known);
        drop(clients);
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use certbound_https::Options;

    use super::*;
    use crate::certificate::BindingCertificate;
    use crate::transport::hyper::trust::ServerTrust;

    fn binding(name: &str) -> BindingCertificate {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../testdata/certificates/");
        let file = |kind: &str| format!("{folder}{name}.{kind}");
        let certificate = BindingCertificate::from_pem_files(file("pem"), file("pkcs8.pem"));
        certificate.unwrap()
    }

    fn client() -> Result<Client, rustls::Error> {
        let identity = ServerTrust::pinned(ServerThumbprint::of_der(b"server")).anonymous()?;
        Ok(Client::new(identity, Options::default()))
    }

    /// Returns whether a client was made for this use.
    fn is_new(clients: &Arc<Clients>, via: Via<'_>) -> bool {
        let made = Cell::new(false);
        let make = || {
            made.set(true);
            client()
        };
        clients.get(via, make).unwrap();
        made.get()
    }

    fn count(clients: &Clients) -> usize {
        clients.lock().clients.len()
    }

    #[test]
    fn the_clients_of_a_key_go_with_its_last_handle_and_no_others() {
        let clients = Clients::new(10);
        let rsa = binding("rsa");
        let (clone, twin) = (rsa.clone(), rsa.clone());
        let (opened_anew, p256) = (binding("rsa"), binding("p256"));
        assert!(is_new(&clients, Via::Bound(&rsa)) && is_new(&clients, Via::Resource(&rsa)));
        assert!(
            !is_new(&clients, Via::Bound(&twin)),
            "both bindings have the same key, so they share one client"
        );
        assert!(is_new(&clients, Via::Bound(&opened_anew)), "its key has a different number");
        assert!(is_new(&clients, Via::Bound(&p256)));
        assert_eq!(count(&clients), 4);
        drop((rsa, clone));
        assert_eq!(count(&clients), 4, "the second clone still has the key");
        drop(twin);
        assert_eq!(count(&clients), 2);
        drop((opened_anew, p256));
        assert_eq!(count(&clients), 0);
        clients.get(Via::Pinned(&ServerThumbprint::of_der(b"server")), client).unwrap();
        assert_eq!(count(&clients), 1, "the client of a pinned server contains no private key");
    }

    #[test]
    fn past_the_limit_the_one_that_was_not_used_for_the_longest_goes() {
        let clients = Clients::new(2);
        let bindings = ["rsa", "p256", "p384"].map(binding);
        let made = |at: usize| is_new(&clients, Via::Bound(&bindings[at]));
        assert_eq!([made(0), made(1), made(0), made(2)], [true, true, false, true]);
        assert_eq!([made(0), made(1)], [false, true], "the least recently used client was removed");
        assert_eq!(count(&clients), 2);
    }

    /// A dropped network must not leave an entry with the private key.
    #[test]
    fn a_key_keeps_nothing_of_networks_that_are_gone() {
        let binding = binding("p256");
        for _ in 0..3 {
            let clients = Clients::new(1);
            let dropped = Arc::downgrade(&clients);
            assert!(is_new(&clients, Via::Bound(&binding)) && is_new(&clients, Via::Resource(&binding)));
            assert!(is_new(&clients, Via::Bound(&binding)), "the limit is one client");
            assert_eq!(binding.who_waits_for_the_key(), 1, "one notification for all clients");
            drop(clients);
            assert!(
                dropped.upgrade().is_none(),
                "the clients are dropped with their network, even if the binding still exists"
            );
        }
    }
}
