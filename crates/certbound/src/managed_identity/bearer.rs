//! A plain token, from any platform.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use certbound_core::managed_identity::{BearerAnswer, IdentityId, MachineSource};
use certbound_core::secret::Secret;
use http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use http::{HeaderValue, Response};
use zeroize::Zeroizing;

use super::Machine;
use super::error::PlatformError;
use super::imds::assemble;
use super::place::Asked;
use crate::correlation::CorrelationId;
use crate::rejected::TokenHash;

/// A token for `resource`, a name without `/.default`, in the place of one that is of no use any more.
pub(super) async fn token(
    machine: &Machine,
    resource: &str,
    replaces: Option<TokenHash>,
    correlation_id: CorrelationId,
) -> Result<BearerAnswer, PlatformError> {
    let asked =
        Asked { id: &machine.id, resource, capabilities: &machine.capabilities, replaces, correlation_id };
    let origin = machine.place.origin();
    let plain = || machine.place.plain(asked).map_err(PlatformError::Identity);
    let unusable =
        || PlatformError::Challenge { reason: "the platform's URL cannot be asked for".to_owned() };
    let request = assemble(plain()?, None).ok_or_else(unusable)?;
    let mut answer = machine.ask(request).await?;
    if origin == MachineSource::AzureArc && answer.status() == 401 {
        let key = challenged(&answer, Path::new(TOKENS)).await?;
        let mut header = HeaderValue::from_str(&Zeroizing::new(format!("Basic {}", key.expose())))
            .map_err(|_| challenge("the file holds what no header can"))?;
        header.set_sensitive(true);
        let request = assemble(plain()?, Some((AUTHORIZATION, header))).ok_or_else(unusable)?;
        answer = machine.ask(request).await?;
    }
    if answer.status() != 200 {
        return Err(machine.refused(&answer));
    }
    let answer = BearerAnswer::parse(answer.body(), machine.clock.now())
        .map_err(|answer| machine.malformed(answer))?;
    if origin == MachineSource::AzureArc {
        confirm(&machine.id, &answer)?;
    }
    Ok(answer)
}

/// Where the agent of Azure Arc puts the files of its challenges.
const TOKENS: &str = "/var/opt/azcmagent/tokens";
const MAX_KEY_BYTES: u64 = 4096;

fn challenge(reason: &str) -> PlatformError {
    PlatformError::Challenge { reason: reason.to_owned() }
}

/// What stands in the file that the challenge names: reading it proves who asks.
async fn challenged<B>(answer: &Response<B>, folder: &Path) -> Result<Secret, PlatformError> {
    let header = answer.headers().get(WWW_AUTHENTICATE).and_then(|header| header.to_str().ok());
    let header = header.ok_or_else(|| challenge("there is none in the answer"))?;
    let path = header.strip_prefix("Basic realm=").filter(|path| !path.contains('='));
    let path = PathBuf::from(path.ok_or_else(|| challenge("it is not of the form `Basic realm=FILE`"))?);
    let folder = folder.to_owned();
    let read = tokio::task::spawn_blocking(move || read_key(&path, &folder)).await;
    read.unwrap_or_else(|_| Err(challenge("the runtime is shutting down")))
}

/// Reads a key file that lies in the agent's folder itself, is called `.key`, is a file and not a link to one, and is
/// small.
fn read_key(path: &Path, folder: &Path) -> Result<Secret, PlatformError> {
    let in_folder = path.parent() == Some(folder)
        && path.extension().is_some_and(|extension| extension == "key")
        && path.components().all(|part| !matches!(part, std::path::Component::ParentDir));
    // As the text has it, too: a path may say the same in several ways.
    let same = path.file_name().is_some_and(|name| folder.join(name).as_os_str() == path.as_os_str());
    if !in_folder || !same {
        return Err(challenge("its file is not a .key file in the agent's folder"));
    }
    let found = std::fs::symlink_metadata(path).map_err(|error| challenge(&format!("its file: {error}")))?;
    if !found.is_file() {
        return Err(challenge("its file is a link or a folder"));
    }
    let file = std::fs::File::open(path).map_err(|error| challenge(&format!("its file: {error}")))?;
    let mut text = Zeroizing::new(String::with_capacity(MAX_KEY_BYTES as usize + 1));
    let read = file.take(MAX_KEY_BYTES + 1).read_to_string(&mut text);
    read.map_err(|error| challenge(&format!("its file: {error}")))?;
    if text.len() as u64 > MAX_KEY_BYTES {
        return Err(challenge("its file is larger than 4096 bytes"));
    }
    Ok(Secret::new(text.strip_suffix('\n').unwrap_or(&text)))
}

/// An old agent passes by the selector and gives the machine's own token: a new one says whose it is.
fn confirm(id: &IdentityId, answer: &BearerAnswer) -> Result<(), PlatformError> {
    let [client, object, resource] = &answer.identity;
    let (asked, found) = match id {
        IdentityId::ClientId(id) => (id, client),
        IdentityId::ObjectId(id) => (id, object),
        IdentityId::ResourceId(id) => (id, resource),
        _ => return Ok(()),
    };
    match found {
        Some(found) if found.eq_ignore_ascii_case(asked) => Ok(()),
        _ => Err(PlatformError::IdentityNotConfirmed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(header: Option<String>) -> Response<()> {
        let mut answer = Response::new(());
        if let Some(header) = header {
            answer.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_str(&header).unwrap());
        }
        answer
    }

    #[tokio::test]
    async fn a_challenge_is_a_small_key_file_in_the_agents_folder() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let write = |name: &str, length: usize| std::fs::write(at(name), "k".repeat(length)).unwrap();
        write("right.key", 4096);
        write("large.key", 4097);
        write("other.txt", 1);
        std::fs::write(at("line.key"), "k\n").unwrap();
        std::fs::write(at("odd.key"), [0xff]).unwrap();
        std::fs::create_dir(at("folder.key")).unwrap();
        std::fs::create_dir(at("below")).unwrap();
        write("below/deep.key", 1);
        std::os::unix::fs::symlink(at("right.key"), at("link.key")).unwrap();
        let read = async |challenge: String| {
            challenged(&answer(Some(challenge)), folder.path()).await.map(|key| key.len())
        };
        let named = |name: &str| format!("Basic realm={}", at(name).display());
        assert_eq!(read(named("right.key")).await, Ok(4096));
        assert_eq!(read(named("line.key")).await, Ok(1));
        for bad in [
            named("large.key"),
            named("other.txt"),
            named("odd.key"),
            named("folder.key"),
            named("below/deep.key"),
            named("link.key"),
            named("none.key"),
            named("below/../right.key"),
            named("./right.key"),
            named("/right.key"),
            "Basic realm=/etc/passwd".to_owned(),
            "Basic realm=".to_owned(),
            "Basic realm=right.key".to_owned(),
            format!("{}=x", named("right.key")),
            "Bearer x".to_owned(),
            String::new(),
        ] {
            let refused = read(bad.clone()).await;
            assert!(matches!(refused, Err(PlatformError::Challenge { .. })), "{bad}: {refused:?}");
        }
        assert!(challenged(&answer(None), folder.path()).await.is_err());
    }
}
