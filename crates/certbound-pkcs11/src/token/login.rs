//! The login at a token: once, and never again with a PIN that the token refused.

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use certbound::Secret;
use cryptoki::error::{Error as CallError, RvError};
use cryptoki::session::{Session, SessionState, UserType};
use cryptoki::slot::TokenInfo;
use cryptoki::types::AuthPin;
use subtle::ConstantTimeEq as _;

use crate::error::Pkcs11Error;

/// The PIN of a token. Logins of one token are one after the other.
pub(super) struct Login {
    module: PathBuf,
    pin: Option<Secret>,
    /// The lock is held during a login. It contains the error of a PIN that was refused.
    refused: Mutex<Option<Pkcs11Error>>,
}

/// A PIN that a token refused in this process. Each entry was one failed attempt, so the list stays short.
struct Refused {
    module: PathBuf,
    token: [String; 3],
    pin: Secret,
}

/// The refused PINs of the process. A second client with the same wrong PIN must not try it again, because a few wrong
/// attempts lock a token.
static REFUSED: Mutex<Vec<Refused>> = Mutex::new(Vec::new());

impl Login {
    pub(super) fn new(module: PathBuf, pin: Option<Secret>) -> Self {
        Self { module, pin, refused: Mutex::default() }
    }

    /// Logs in, unless the token needs no login or this process is logged in already. All sessions of a process share the
    /// login.
    pub(super) fn log_in(&self, session: &Session, token: &TokenInfo) -> Result<(), Pkcs11Error> {
        // The value under the lock is usable even after a panic.
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(error) = &*refused {
            return Err(error.clone());
        }
        if !token.login_required() || is_logged_in(session)? {
            return Ok(());
        }
        check_state(token)?;
        let name = || token.label().trim_end().to_owned();
        let pin = match &self.pin {
            Some(pin) => Some(pin),
            None if token.protected_authentication_path() => None,
            None => return Err(Pkcs11Error::NoPin { token: name() }),
        };
        if pin.is_some_and(|pin| self.was_refused(token, pin)) {
            return Err(refused.insert(Pkcs11Error::WrongPin { token: name() }).clone());
        }
        let typed = pin.map(|pin| AuthPin::new(pin.expose().into()));
        let error = match session.login(UserType::User, typed.as_ref()) {
            Ok(()) | Err(CallError::Pkcs11(RvError::UserAlreadyLoggedIn, _)) => return Ok(()),
            Err(CallError::Pkcs11(code, function)) => match code {
                RvError::PinIncorrect | RvError::PinInvalid | RvError::PinLenRange => {
                    if let Some(pin) = pin {
                        self.remember_refused(token, pin);
                    }
                    Pkcs11Error::WrongPin { token: name() }
                }
                RvError::PinLocked => Pkcs11Error::PinLocked { token: name(), reason: "the token is locked" },
                RvError::PinExpired => Pkcs11Error::PinLocked { token: name(), reason: "it has expired" },
                _ => return Err(CallError::Pkcs11(code, function).into()),
            },
            Err(error) => return Err(error.into()),
        };
        Err(refused.insert(error).clone())
    }

    fn was_refused(&self, token: &TokenInfo, pin: &Secret) -> bool {
        let known = REFUSED.lock().unwrap_or_else(PoisonError::into_inner);
        let same_pin = |known: &Secret| bool::from(known.expose().as_bytes().ct_eq(pin.expose().as_bytes()));
        known.iter().any(|it| it.module == self.module && it.token == identity(token) && same_pin(&it.pin))
    }

    fn remember_refused(&self, token: &TokenInfo, pin: &Secret) {
        let refused =
            Refused { module: self.module.clone(), token: identity(token), pin: Secret::new(pin.expose()) };
        REFUSED.lock().unwrap_or_else(PoisonError::into_inner).push(refused);
    }
}

fn identity(token: &TokenInfo) -> [String; 3] {
    [token.label(), token.serial_number(), token.manufacturer_id()].map(str::to_owned)
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
            "one wrong attempt more would lock the token, so certbound does not try"
        }
        () if token.user_pin_to_be_changed() => "the PIN must be changed first",
        () => return Ok(()),
    };
    Err(Pkcs11Error::PinLocked { token: token.label().trim_end().to_owned(), reason })
}
