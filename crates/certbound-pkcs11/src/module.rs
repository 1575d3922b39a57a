//! Loads a PKCS#11 module once for each path.

use std::collections::HashMap;
use std::env::consts::{DLL_PREFIX, DLL_SUFFIX};
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use certbound_core::cause::Cause;
use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::error::{Error as CallError, RvError};

use crate::error::Pkcs11Error;
use crate::uri::ModuleName;

/// The folders in which `module-name` is searched, in this order. Packages of distributions install modules there.
const FOLDERS: [&str; 9] = [
    "/usr/local/lib/pkcs11",
    "/usr/lib64/pkcs11",
    "/usr/lib/x86_64-linux-gnu/pkcs11",
    "/usr/lib/aarch64-linux-gnu/pkcs11",
    "/usr/lib/pkcs11",
    "/usr/lib/softhsm",
    "/usr/lib/x86_64-linux-gnu",
    "/usr/lib/aarch64-linux-gnu",
    "/usr/lib64",
];

type Cell = Arc<Mutex<Option<Pkcs11>>>;

/// The loaded modules by canonical path.
///
/// The modules stay loaded until the end of the process, because other parts of the process can use them too.
static LOADED: LazyLock<Mutex<HashMap<PathBuf, Cell>>> = LazyLock::new(Mutex::default);

/// Returns the path of the module that a URI names.
pub(crate) fn path_of(module: Option<&ModuleName>) -> Result<PathBuf, Pkcs11Error> {
    match module {
        Some(ModuleName::Path(path)) => Ok(path.clone()),
        Some(ModuleName::Name(name)) => find(name),
        None => Err(Pkcs11Error::Uri {
            reason: "it names no module; add `?module-path=` and the path of the module".to_owned(),
        }),
    }
}

fn find(name: &str) -> Result<PathBuf, Pkcs11Error> {
    let files = [format!("{DLL_PREFIX}{name}{DLL_SUFFIX}"), format!("{name}{DLL_SUFFIX}")];
    let all = FOLDERS.iter().flat_map(|folder| files.iter().map(move |file| Path::new(folder).join(file)));
    all.into_iter().find(|path| path.is_file()).ok_or_else(|| {
        let reason = format!("`{}` is in none of the folders {}", files[0], FOLDERS.join(", "));
        Pkcs11Error::Module { module: name.to_owned(), reason: reason.into() }
    })
}

/// Returns the path without symbolic links, which identifies a module. A path that does not exist is returned
/// unchanged.
pub(crate) fn canonical(path: &Path) -> PathBuf {
    std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned())
}

/// Returns the module at `path`. The first call loads and initialises it, which can take long.
pub(crate) fn load(path: &Path) -> Result<Pkcs11, Pkcs11Error> {
    let cell = {
        let mut loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(loaded.entry(canonical(path)).or_default())
    };
    // Only calls for this module wait for the lock.
    let mut module = cell.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(module) = &*module {
        return Ok(module.clone());
    }
    let failed = |reason: Cause| Pkcs11Error::Module { module: path.display().to_string(), reason };
    if !path.is_file() {
        return Err(failed("the file does not exist".into()));
    }
    let loaded = Pkcs11::new(path).map_err(|error| failed(cause(error)))?;
    initialize(&loaded).map_err(|error| failed(cause(error)))?;
    Ok(module.insert(loaded).clone())
}

/// Initialises a module again, after a call returned `CKR_CRYPTOKI_NOT_INITIALIZED`. Several threads can call this
/// function at the same time: the result is true for at most one of them.
pub(crate) fn initialize_again(path: &Path, module: &Pkcs11) -> Result<bool, Pkcs11Error> {
    let failed = |error| Pkcs11Error::Module { module: path.display().to_string(), reason: cause(error) };
    let is_first = initialize(module).map_err(failed)?;
    if is_first {
        tracing::warn!(
            module = %path.display(),
            "another part of the process ended the module (C_Finalize), so it was initialised again"
        );
    }
    Ok(is_first)
}

/// Initialises the module with the locks of the operating system, because several threads call it. Returns false if
/// another part of the process has initialised it already.
fn initialize(module: &Pkcs11) -> Result<bool, CallError> {
    match module.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)) {
        Err(CallError::Pkcs11(RvError::CryptokiAlreadyInitialized, _)) => Ok(false),
        result => result.map(|()| true),
    }
}

fn cause(error: CallError) -> Cause {
    match error {
        CallError::LibraryLoading(error) => Cause::new(error),
        CallError::MissingSymbol(name) => format!("it is not a PKCS#11 module: it has no {name}").into(),
        CallError::Pkcs11(code, function) => format!("C_{function:?} failed: {code:?}").into(),
        other => other.to_string().into(),
    }
}
