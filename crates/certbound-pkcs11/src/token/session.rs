//! One session, with the facts of its token and the objects that were found in it.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use cryptoki::context::Pkcs11;
use cryptoki::mechanism::MechanismType;
use cryptoki::object::ObjectHandle;
use cryptoki::session::Session;
use cryptoki::slot::{Slot, TokenInfo};

use super::losses::Losses;
use super::turn::{TokenIdentity, Turn, Work};
use crate::error::Pkcs11Error;

/// The session that a thread keeps for its next call.
#[derive(Default)]
pub(super) struct Kept(pub(super) Option<Opened>);

impl Drop for Kept {
    /// Runs when the thread ends. The module may have closed the session since the last call of the thread.
    fn drop(&mut self) {
        if let Some(lost) = self.0.take_if(|opened| opened.losses.are_more()) {
            lost.abandon();
        }
    }
}

/// An open session.
pub(crate) struct Opened {
    pub(crate) session: Session,
    pub(crate) module: Pkcs11,
    pub(crate) slot: Slot,
    /// The path of the module, for errors.
    pub(super) path: PathBuf,
    pub(crate) identity: TokenIdentity,
    /// The label of the token, for errors.
    pub(crate) label: String,
    pub(crate) opening: u64,
    /// The losses of the token before the session was opened.
    losses: Losses,
    /// The mechanisms that the token has.
    pub(crate) mechanisms: Vec<MechanismType>,
    /// The handles of private keys that were found in this session, by id and label.
    pub(crate) keys: HashMap<(Vec<u8>, Vec<u8>), ObjectHandle>,
}

impl Opened {
    pub(super) fn new(
        module: Pkcs11,
        path: &Path,
        (slot, info): (Slot, &TokenInfo),
        (opening, losses): (u64, Losses),
    ) -> Result<Self, Pkcs11Error> {
        let session = module.open_ro_session(slot)?;
        let mechanisms = module.get_mechanism_list(slot)?;
        let label = info.label().trim_end().to_owned();
        let (path, identity, keys) = (path.to_owned(), TokenIdentity::of(info), HashMap::new());
        Ok(Self { session, module, slot, path, identity, label, opening, losses, mechanisms, keys })
    }

    /// Waits until no other thread of the process does this work on the token, and takes the turn.
    ///
    /// # Errors
    /// [`Pkcs11Error::TimedOut`], if another thread does the work for longer than `limit`.
    pub(crate) fn turn(&self, work: Work, limit: Duration) -> Result<Turn, Pkcs11Error> {
        let timed_out = || Pkcs11Error::TimedOut { module: self.path.display().to_string(), limit };
        Turn::wait(&self.identity, work, limit).ok_or_else(timed_out)
    }

    /// Drops the session without a call of the module. The module has closed the session itself, and another session
    /// can have its number now.
    pub(super) fn abandon(self) {
        std::mem::forget(self.session);
    }

    /// Returns whether the module reports the slot, or a mechanism for a machine's signatures, as hardware.
    pub(crate) fn is_hardware(&self) -> bool {
        let of_slot = self.module.get_slot_info(self.slot).is_ok_and(|slot| slot.hardware_slot());
        let signs = [MechanismType::SHA256_RSA_PKCS_PSS, MechanismType::RSA_PKCS_PSS];
        let of_mechanism = signs.into_iter().any(|mechanism| {
            self.module.get_mechanism_info(self.slot, mechanism).is_ok_and(|info| info.hardware())
        });
        of_slot || of_mechanism
    }
}
