//! One token: its sessions, its login, and its openings.

mod login;
mod losses;
mod options;
mod session;
mod turn;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use cryptoki::context::Pkcs11;
use cryptoki::error::{Error as CallError, RvError};
use cryptoki::slot::{Slot, TokenInfo};

use self::login::{Login, forget_removed};
use self::losses::Losses;
pub use self::options::TokenOptions;
use self::session::Kept;
pub(crate) use self::session::Opened;
pub(crate) use self::turn::{TokenIdentity, Work};
use crate::error::{Outlook, Pkcs11Error};
use crate::uri::{Pkcs11Uri, TokenProperties};
use crate::workers::{NoResult, Workers};
use crate::{module, pin};

/// A token in a module. It is cheap to clone; clones share the sessions and the login.
#[derive(Clone)]
pub(crate) struct Token {
    inner: Arc<Inner>,
}

struct Inner {
    path: PathBuf,
    wanted: TokenProperties,
    workers: Workers<Kept>,
    login: Login,
    /// The number of openings that have ended, for example because the token was taken out. A handle of a key belongs
    /// to one number.
    opening: AtomicU64,
    /// The module has closed the sessions of all openings before this number.
    closed_before: AtomicU64,
    /// The losses of the token that this client knows. The field is `None` before the first session, and after a loss.
    losses: Mutex<Option<Losses>>,
}

impl Token {
    /// Prepares the token of a URI. The module is not loaded yet.
    pub(crate) fn of(uri: Pkcs11Uri, options: TokenOptions) -> Result<Self, Pkcs11Error> {
        let path = module::path_of(uri.module.as_ref())?;
        let pin = match pin::of_place(uri.pin)? {
            Some(pin) => Some(pin),
            None => options.pin,
        };
        let inner = Inner {
            login: Login::new(pin, options.limit),
            path,
            wanted: uri.token,
            workers: Workers::new(options.sessions, options.limit),
            opening: AtomicU64::new(0),
            closed_before: AtomicU64::new(0),
            losses: Mutex::default(),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Returns the number of the current opening.
    pub(crate) fn opening(&self) -> u64 {
        self.inner.opening.load(Ordering::SeqCst)
    }

    /// Runs `work` in a session in which the user is logged in. If `opening` has a value, the session must belong to
    /// that opening.
    ///
    /// If the error shows a loss of the token, this opening ends, and its handles never sign again.
    pub(crate) fn run<T: Send + 'static>(
        &self,
        opening: Option<u64>,
        work: impl FnOnce(&mut Opened) -> Result<T, Pkcs11Error> + Send + 'static,
    ) -> Result<T, Pkcs11Error> {
        let inner = Arc::clone(&self.inner);
        let result = self.inner.workers.run(move |kept| inner.run(&mut kept.0, opening, work));
        result.unwrap_or_else(|failure| Err(self.inner.no_result(failure, self.inner.workers.limit())))
    }

    /// Runs `work` as [`Token::run`] does, with a limit of at least `limit`: the generation of a key takes long.
    pub(crate) fn run_long<T: Send + 'static>(
        &self,
        limit: Duration,
        work: impl FnOnce(&mut Opened) -> Result<T, Pkcs11Error> + Send + 'static,
    ) -> Result<T, Pkcs11Error> {
        let (inner, limit) = (Arc::clone(&self.inner), limit.max(self.inner.workers.limit()));
        let result = self.inner.workers.run_within(limit, move |kept| inner.run(&mut kept.0, None, work));
        result.unwrap_or_else(|failure| Err(self.inner.no_result(failure, limit)))
    }

    /// Runs `work` as [`Token::run`] does. If the token was lost, a second attempt opens the token again.
    pub(crate) fn run_anew<T: Send + 'static>(
        &self,
        work: impl Fn(&mut Opened) -> Result<T, Pkcs11Error> + Clone + Send + 'static,
    ) -> Result<T, Pkcs11Error> {
        match self.run(None, work.clone()) {
            Err(error) if error.is_gone() => self.run(None, work),
            result => result,
        }
    }
}

impl Inner {
    fn run<T>(
        &self,
        state: &mut Option<Opened>,
        wanted: Option<u64>,
        work: impl FnOnce(&mut Opened) -> Result<T, Pkcs11Error>,
    ) -> Result<T, Pkcs11Error> {
        self.notice_loss();
        let opening = self.opening.load(Ordering::SeqCst);
        if wanted.is_some_and(|wanted| wanted != opening) {
            return Err(Pkcs11Error::HandleClosed);
        }
        let opened = match state.take() {
            Some(opened) if opened.opening == opening => Ok(opened),
            Some(earlier) => {
                self.end(earlier);
                self.open(opening)
            }
            None => self.open(opening),
        };
        let result = opened.and_then(|mut opened| match work(&mut opened) {
            Err(error) if error.ends_sessions() => {
                opened.abandon();
                Err(error)
            }
            // The session stays open: the module would log the user out if this was the last session of the process.
            Err(error) if error.is_of_objects() => {
                *state = Some(opened);
                Err(error)
            }
            // `run` closes the session of a failed call, because the operation can still be active in it.
            Err(error) => Err(error),
            Ok(result) => {
                *state = Some(opened);
                Ok(result)
            }
        });
        if let Err(error) = &result
            && error.is_gone()
        {
            let is_first = self.end_opening(opening, error.ends_sessions());
            if is_first
                && error.ends_sessions()
                && let Some(losses) = self.losses().take()
            {
                losses.tell();
            }
        }
        result
    }

    /// Ends an opening. Several threads can notice the same loss: the result is true for the first of them.
    fn end_opening(&self, opening: u64, are_closed: bool) -> bool {
        let next = opening + 1;
        if are_closed {
            self.closed_before.fetch_max(next, Ordering::SeqCst);
        }
        self.opening.compare_exchange(opening, next, Ordering::SeqCst, Ordering::SeqCst).is_ok()
    }

    /// Ends the opening if another client of the process has noticed a loss of the token. Returns whether the opening
    /// ended.
    fn notice_loss(&self) -> bool {
        let mut losses = self.losses();
        let is_lost = losses.take_if(|losses| losses.are_more()).is_some();
        if is_lost {
            self.end_opening(self.opening.load(Ordering::SeqCst), true);
        }
        is_lost
    }

    fn losses(&self) -> MutexGuard<'_, Option<Losses>> {
        // No code panics while the lock is held.
        self.losses.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn open(&self, opening: u64) -> Result<Opened, Pkcs11Error> {
        let (module, slot, info) = self.find()?;
        let now = || Losses::of(&self.path, &TokenIdentity::of(&info));
        let losses = self.losses().get_or_insert_with(now).clone();
        // `find` may have initialised the module again, which ends all sessions.
        if self.notice_loss() {
            return Err(Pkcs11Error::HandleClosed);
        }
        let opened = Opened::new(module, &self.path, (slot, &info), (opening, losses))?;
        match self.login.log_in(&opened) {
            Err(error) if error.ends_sessions() => {
                opened.abandon();
                Err(error)
            }
            result => result.map(|()| opened),
        }
    }

    /// Closes a session of an earlier opening, unless the module has closed it. A session that stays open counts
    /// against the limit of the token.
    fn end(&self, earlier: Opened) {
        if earlier.opening < self.closed_before.load(Ordering::SeqCst) {
            earlier.abandon();
        }
    }

    /// Finds the slot with the token. The number of a slot can have changed.
    fn find(&self) -> Result<(Pkcs11, Slot, TokenInfo), Pkcs11Error> {
        let (module_path, wanted) = (self.path.display().to_string(), self.wanted.to_string());
        let (module, mut found) = tokens(&self.path)?;
        let present: Vec<_> = found.iter().map(|(_, info)| TokenIdentity::of(info)).collect();
        forget_removed(&self.path, &present);
        found.retain(|(slot, info)| self.wanted.fits(*slot, info));
        match (found.len(), found.pop()) {
            (1, Some((slot, info))) => Ok((module, slot, info)),
            (0, _) => Err(Pkcs11Error::TokenNotFound { module: module_path, wanted }),
            (count, _) => Err(Pkcs11Error::SeveralTokens { module: module_path, wanted, count }),
        }
    }

    fn no_result(&self, failure: NoResult, limit: Duration) -> Pkcs11Error {
        match failure {
            NoResult::TimedOut => Pkcs11Error::TimedOut { module: self.path.display().to_string(), limit },
            NoResult::Failed => Pkcs11Error::Call {
                call: "a thread for calls of the module".to_owned(),
                reason: "it could not be started, or it panicked".to_owned(),
                outlook: Outlook::Temporary,
            },
        }
    }
}

/// Loads a module and returns its initialised tokens. The function omits a slot whose token is taken out in the
/// meantime.
pub(crate) fn tokens(path: &Path) -> Result<(Pkcs11, Vec<(Slot, TokenInfo)>), Pkcs11Error> {
    let module = module::load(path)?;
    let slots = match module.get_slots_with_token() {
        // Another part of the process has called C_Finalize. All sessions have ended.
        Err(CallError::Pkcs11(RvError::CryptokiNotInitialized, _)) => {
            if module::initialize_again(path, &module)? {
                Losses::tell_all(path);
            }
            module.get_slots_with_token()?
        }
        slots => slots?,
    };
    let known = slots.into_iter().filter_map(|slot| Some((slot, module.get_token_info(slot).ok()?)));
    let initialized = known.filter(|(_, info)| info.token_initialized()).collect();
    Ok((module, initialized))
}

impl TokenProperties {
    fn fits(&self, slot: Slot, info: &TokenInfo) -> bool {
        let is = |wanted: &Option<String>, found: &str| {
            wanted.as_ref().is_none_or(|wanted| wanted == found.trim_end())
        };
        is(&self.label, info.label())
            && is(&self.manufacturer, info.manufacturer_id())
            && is(&self.model, info.model())
            && is(&self.serial, info.serial_number())
            && self.slot.is_none_or(|wanted| wanted == slot.id())
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Token({} of {})", self.inner.wanted, self.inner.path.display())
    }
}
