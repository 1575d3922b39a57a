//! The login at a token. A PIN that the token refused is never sent again.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use certbound::Secret;
use cryptoki::error::{Error as CallError, RvError};
use cryptoki::session::{Session, SessionState, UserType};
use cryptoki::slot::TokenInfo;
use cryptoki::types::AuthPin;
use subtle::ConstantTimeEq as _;

use super::session::Opened;
use super::turn::{TokenIdentity, Work};
use crate::error::{Outlook, Pkcs11Error};
use crate::module;

/// The login of one client at a token.
pub(super) struct Login {
    pin: Option<Secret>,
    /// The time that a thread waits for the login of another thread.
    limit: Duration,
    /// The error of a PIN that was refused.
    refused: Mutex<Option<Pkcs11Error>>,
}

/// A PIN that this process does not send to the token again. Each entry was one failed attempt, so the list stays
/// short.
struct Tried {
    token: TokenIdentity,
    pin: Secret,
    /// The error of an attempt whose result is unknown. The field is `None` if the token refused the PIN.
    unknown: Option<Unknown>,
}

struct Unknown {
    /// The canonical path of the module.
    module: PathBuf,
    error: Pkcs11Error,
}

/// The PINs of the process that are not sent again. A second client with the same wrong PIN must not try it again,
/// because a few wrong attempts lock a token. The list also applies if another module shows the same token.
static TRIED: Mutex<Vec<Tried>> = Mutex::new(Vec::new());

impl Login {
    pub(super) fn new(pin: Option<Secret>, limit: Duration) -> Self {
        Self { pin, limit, refused: Mutex::default() }
    }

    /// Logs in, unless the token needs no login or this process is logged in already. All sessions of a process share
    /// the login.
    ///
    /// The clients of the process log in one after another, so that each client knows the result of the attempt before.
    pub(super) fn log_in(&self, opened: &Opened) -> Result<(), Pkcs11Error> {
        let _turn = opened.turn(Work::Login, self.limit)?;
        let mut refused = lock(&self.refused);
        if let Some(error) = &*refused {
            return Err(error.clone());
        }
        // An attempt of another thread or process may have changed the state of the PIN.
        let token = opened.module.get_token_info(opened.slot)?;
        if !token.login_required() || is_logged_in(&opened.session)? {
            return Ok(());
        }
        check_state(&token)?;
        let name = || opened.label.clone();
        let pin = match &self.pin {
            Some(pin) => Some(pin),
            None if token.protected_authentication_path() => None,
            None => return Err(Pkcs11Error::NoPin { token: name() }),
        };
        match pin.and_then(|pin| tried(&opened.identity, pin)) {
            None => {}
            Some(Some(unknown)) => return Err(unknown),
            Some(None) => return Err(refused.insert(Pkcs11Error::WrongPin { token: name() }).clone()),
        }
        let typed = pin.map(|pin| AuthPin::new(pin.expose().into()));
        let error = match opened.session.login(UserType::User, typed.as_ref()) {
            Ok(()) | Err(CallError::Pkcs11(RvError::UserAlreadyLoggedIn, _)) => return Ok(()),
            Err(CallError::Pkcs11(code, function)) => match code {
                RvError::PinIncorrect | RvError::PinInvalid | RvError::PinLenRange => {
                    if let Some(pin) = pin {
                        remember(opened, pin, None);
                    }
                    Pkcs11Error::WrongPin { token: name() }
                }
                RvError::PinLocked => Pkcs11Error::PinLocked { token: name(), reason: "the token is locked" },
                RvError::PinExpired => Pkcs11Error::PinLocked { token: name(), reason: "it has expired" },
                _ => {
                    let error = Pkcs11Error::from(CallError::Pkcs11(code, function));
                    // A user who types the PIN at a keypad decides about the next attempt.
                    let Some(pin) = pin.filter(|_| !error.ends_sessions()) else { return Err(error) };
                    let error = not_repeated(error);
                    remember(opened, pin, Some(error.clone()));
                    return Err(error);
                }
            },
            Err(error) => return Err(error.into()),
        };
        Err(refused.insert(error).clone())
    }
}

/// Returns the error of a login whose result is unknown: the token may have counted the attempt as a wrong PIN.
fn not_repeated(error: Pkcs11Error) -> Pkcs11Error {
    match error {
        Pkcs11Error::Call { call, reason, .. } => Pkcs11Error::Call {
            call,
            reason: format!(
                "{reason}; the token may have counted an attempt, so the PIN is sent again only after the token was taken out or this program was restarted"
            ),
            outlook: Outlook::Permanent,
        },
        other => other,
    }
}

/// Returns whether the PIN was sent to this token without success, with the error if the result is unknown.
fn tried(token: &TokenIdentity, pin: &Secret) -> Option<Option<Pkcs11Error>> {
    let same_pin = |known: &Secret| bool::from(known.expose().as_bytes().ct_eq(pin.expose().as_bytes()));
    let known = lock(&TRIED);
    let known = known.iter().find(|it| it.token == *token && same_pin(&it.pin))?;
    Some(known.unknown.as_ref().map(|unknown| unknown.error.clone()))
}

fn remember(opened: &Opened, pin: &Secret, unknown: Option<Pkcs11Error>) {
    let unknown = unknown.map(|error| Unknown { module: module::canonical(&opened.path), error });
    let tried = Tried { token: opened.identity.clone(), pin: Secret::new(pin.expose()), unknown };
    lock(&TRIED).push(tried);
}

/// Allows a new attempt at each absent token of the module, if the result of the last attempt is unknown. `present` has
/// the tokens that are in a slot.
pub(super) fn forget_removed(path: &Path, present: &[TokenIdentity]) {
    let path = module::canonical(path);
    let is_out = |it: &Tried| {
        it.unknown.as_ref().is_some_and(|unknown| unknown.module == path) && !present.contains(&it.token)
    };
    lock(&TRIED).retain(|it| !is_out(it));
}

/// Locks the mutex. The values under the locks are usable even after a panic.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn is_logged_in(session: &Session) -> Result<bool, Pkcs11Error> {
    let state = session.get_session_info()?.session_state();
    Ok(matches!(state, SessionState::RoUser | SessionState::RwUser))
}

/// Refuses an attempt that could lock the token, or that cannot succeed.
fn check_state(token: &TokenInfo) -> Result<(), Pkcs11Error> {
    let reason = match () {
        () if !token.user_pin_initialized() => "no PIN was set for the user of the token",
        () if token.user_pin_locked() => "the token is locked",
        () if token.user_pin_final_try() => {
            "one more wrong attempt would lock the token, so certbound does not try"
        }
        () if token.user_pin_to_be_changed() => "the PIN must be changed first",
        () => return Ok(()),
    };
    Err(Pkcs11Error::PinLocked { token: token.label().trim_end().to_owned(), reason })
}
