//! Connection pools, by what is presented on them: bounded, and those of a binding gone with its last handle.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use certbound_core::managed_identity::ServerThumbprint;
use foldhash::quality::RandomState;

use crate::certificate::{Binding, ChainHash, Lease};

/// Whose connections a pool holds: what we present on them, or by what the server is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Peers {
    Bound(ChainHash, Use),
    Pinned(ServerThumbprint),
}

/// What the connections of a binding are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Use {
    Token,
    Resource,
}

/// Pools of kind `P`, at most so many: past that the one that was not used for the longest goes.
///
/// A pool holds its binding's key. So each binding that a pool was used for holds a lease, shared by those of one chain,
/// and when the last of them is dropped the pool is too; a connection then ends with the request that is on it.
pub(super) struct Pools<P: Send + Sync + 'static> {
    kept: Arc<Mutex<Kept<P>>>,
    at_most: usize,
}

struct Kept<P: Send + Sync + 'static> {
    pools: HashMap<Peers, Used<P>, RandomState>,
    leases: HashMap<ChainHash, Weak<LeaseOf<P>>, RandomState>,
    /// Counts uses.
    turn: u64,
}

struct Used<P> {
    pool: Arc<P>,
    last: u64,
}

struct LeaseOf<P: Send + Sync + 'static> {
    chain: ChainHash,
    of: Weak<Mutex<Kept<P>>>,
}

impl<P: Send + Sync + 'static> Pools<P> {
    pub(super) fn new(at_most: usize) -> Self {
        let kept = Kept { pools: HashMap::default(), leases: HashMap::default(), turn: 0 };
        Self { kept: Arc::new(Mutex::new(kept)), at_most }
    }

    /// The pool of `binding` for one use, made by `make` if there is none.
    pub(super) fn of_binding<E>(
        &self,
        binding: &Binding,
        purpose: Use,
        make: impl FnOnce() -> Result<P, E>,
    ) -> Result<Arc<P>, E> {
        let mut kept = lock(&self.kept);
        binding.hold(kept.lease(binding.chain_hash(), &self.kept));
        self.get(kept, Peers::Bound(binding.chain_hash(), purpose), make)
    }

    /// The pool for the one server that has this certificate, made by `make` if there is none.
    pub(super) fn of_pin<E>(
        &self,
        pin: ServerThumbprint,
        make: impl FnOnce() -> Result<P, E>,
    ) -> Result<Arc<P>, E> {
        self.get(lock(&self.kept), Peers::Pinned(pin), make)
    }

    fn get<E>(
        &self,
        mut kept: MutexGuard<'_, Kept<P>>,
        peers: Peers,
        make: impl FnOnce() -> Result<P, E>,
    ) -> Result<Arc<P>, E> {
        kept.turn += 1;
        let last = kept.turn;
        if let Some(used) = kept.pools.get_mut(&peers) {
            used.last = last;
            return Ok(Arc::clone(&used.pool));
        }
        let pool = Arc::new(make()?);
        let room = if kept.pools.len() < self.at_most { None } else { kept.take_oldest() };
        kept.pools.insert(peers, Used { pool: Arc::clone(&pool), last });
        drop(kept);
        drop(room);
        Ok(pool)
    }
}

impl<P: Send + Sync + 'static> Kept<P> {
    /// The lease that every binding of this chain holds.
    fn lease(&mut self, chain: ChainHash, this: &Arc<Mutex<Self>>) -> Arc<LeaseOf<P>> {
        if let Some(lease) = self.leases.get(&chain).and_then(Weak::upgrade) {
            return lease;
        }
        let lease = Arc::new(LeaseOf { chain, of: Arc::downgrade(this) });
        self.leases.insert(chain, Arc::downgrade(&lease));
        lease
    }

    fn take_oldest(&mut self) -> Option<Used<P>> {
        let oldest = self.pools.iter().min_by_key(|(_, used)| used.last).map(|(peers, _)| *peers)?;
        self.pools.remove(&oldest)
    }
}

impl<P: Send + Sync + 'static> Lease for LeaseOf<P> {
    fn is_over(&self) -> bool {
        self.of.strong_count() == 0
    }
}

impl<P: Send + Sync + 'static> Drop for LeaseOf<P> {
    fn drop(&mut self) {
        let Some(of) = self.of.upgrade() else { return };
        let mut kept = lock(&of);
        // Another binding of this chain may have come meanwhile, with a lease of its own.
        if kept.leases.get(&self.chain).is_some_and(|lease| lease.strong_count() > 0) {
            return;
        }
        kept.leases.remove(&self.chain);
        let pools =
            [Use::Token, Use::Resource].map(|used| kept.pools.remove(&Peers::Bound(self.chain, used)));
        drop(kept);
        drop(pools);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Every state that it passes through is usable.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;
    use crate::certificate::BindingCertificate;

    fn binding(name: &str) -> Binding {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../testdata/certificates/");
        let file = |kind: &str| format!("{folder}{name}.{kind}");
        let certificate = BindingCertificate::from_pem_files(file("pem"), file("pkcs8.pem"));
        Binding::new(certificate.unwrap())
    }

    fn make(number: u32) -> impl FnOnce() -> Result<u32, Infallible> {
        move || Ok(number)
    }

    fn count(pools: &Pools<u32>) -> (usize, usize) {
        let kept = lock(&pools.kept);
        (kept.pools.len(), kept.leases.len())
    }

    #[test]
    fn the_pools_of_a_binding_go_with_its_last_handle_and_no_others() {
        let pools = Pools::new(10);
        let (rsa, clone, same, p256) = {
            let rsa = binding("rsa");
            (rsa.clone(), rsa, binding("rsa"), binding("p256"))
        };
        let get =
            |binding: &Binding, purpose, number| *pools.of_binding(binding, purpose, make(number)).unwrap();
        assert_eq!(get(&rsa, Use::Token, 1), 1);
        assert_eq!(get(&rsa, Use::Resource, 2), 2);
        assert_eq!(get(&same, Use::Token, 3), 1, "the same certificate, loaded twice, has one pool");
        assert_eq!(get(&p256, Use::Token, 4), 4);
        assert_eq!(count(&pools), (3, 2));
        drop(rsa);
        drop(clone);
        assert_eq!(count(&pools), (3, 2), "the other one of the same certificate is there");
        drop(same);
        assert_eq!(count(&pools), (1, 1));
        drop(p256);
        assert_eq!(count(&pools), (0, 0));
        assert_eq!(*pools.of_pin(ServerThumbprint::of_der(b"server"), make(5)).unwrap(), 5);
        assert_eq!(count(&pools), (1, 0), "a server has no lease");
    }

    #[test]
    fn past_the_limit_the_one_that_was_not_used_for_the_longest_goes() {
        let pools = Pools::new(2);
        let bindings = ["rsa", "p256", "p384"].map(binding);
        let get = |at: usize, number| *pools.of_binding(&bindings[at], Use::Token, make(number)).unwrap();
        assert_eq!([get(0, 0), get(1, 1), get(0, 9), get(2, 2)], [0, 1, 0, 2]);
        assert_eq!([get(0, 9), get(1, 8)], [0, 8], "the second one had gone, and the first one not");
        assert_eq!(count(&pools).0, 2);
    }

    /// Else each network that is made and dropped would leave something behind.
    #[test]
    fn a_binding_keeps_nothing_of_pools_that_are_gone() {
        let binding = binding("p256");
        let pool = Arc::new(());
        for _ in 0..3 {
            let pools = Pools::new(2);
            let made = || Ok::<_, Infallible>(Arc::clone(&pool));
            pools.of_binding(&binding, Use::Token, made).unwrap();
            assert_eq!(Arc::strong_count(&pool), 2);
            drop(pools);
            assert_eq!(
                Arc::strong_count(&pool),
                1,
                "the pools end with their owner, whatever the binding does"
            );
        }
        assert_eq!(binding.leases(), 1, "the last one, until the next comes");
    }
}
