//! Tests of the files of the agent's challenges: a correct file, and every kind of wrong file.

use std::os::unix::fs::symlink;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::*;

fn answer(header: Option<String>) -> Response<()> {
    let mut answer = Response::new(());
    if let Some(header) = header {
        answer.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_str(&header).unwrap());
    }
    answer
}

/// Returns a new folder, and its path without links.
fn folder() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().canonicalize().unwrap();
    (folder, path)
}

fn pipe(path: &Path) {
    let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
    rustix::fs::mknodat(rustix::fs::CWD, path, rustix::fs::FileType::Fifo, mode, 0).unwrap();
}

#[tokio::test]
async fn a_challenge_is_a_small_key_file_in_the_agents_folder() {
    let (_folder, path) = folder();
    let at = |name: &str| path.join(name);
    let write = |name: &str, length: usize| std::fs::write(at(name), "k".repeat(length)).unwrap();
    write("right.key", 4096);
    write("large.key", 4097);
    write("other.txt", 1);
    std::fs::write(at("line.key"), "k\n").unwrap();
    std::fs::write(at("odd.key"), [0xff]).unwrap();
    std::fs::create_dir(at("folder.key")).unwrap();
    std::fs::create_dir(at("below")).unwrap();
    write("below/deep.key", 1);
    symlink(at("right.key"), at("link.key")).unwrap();
    let read =
        async |challenge: String| challenged(&answer(Some(challenge)), &path).await.map(|key| key.len());
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
    assert!(challenged(&answer(None), &path).await.is_err());
}

#[tokio::test]
async fn the_key_is_hidden_in_its_header() {
    let (_folder, path) = folder();
    std::fs::write(path.join("x.key"), "planted-arc-key\n").unwrap();
    let challenge = answer(Some(format!("Basic realm={}", path.join("x.key").display())));
    let header = super::answer(&challenge, &path).await.unwrap();
    assert_eq!(header, "Basic planted-arc-key");
    assert!(!format!("{header:?}").contains("planted"));
    std::fs::write(path.join("x.key"), "planted\narc-key").unwrap();
    let error = super::answer(&challenge, &path).await.unwrap_err();
    assert!(error.to_string().contains("header") && !error.to_string().contains("planted"), "{error}");
}

#[tokio::test]
async fn a_pipe_is_not_waited_for() {
    let (_folder, path) = folder();
    let file = path.join("pipe.key");
    pipe(&file);
    let challenge = answer(Some(format!("Basic realm={}", file.display())));
    let reading = challenged(&challenge, &path);
    let refused = tokio::time::timeout(Duration::from_secs(20), reading).await;
    if refused.is_err() {
        // A thread may still wait for a writer. Opening the pipe ends its wait.
        drop(std::fs::OpenOptions::new().write(true).open(&file));
    }
    let refused = refused.expect("the read waited for a writer");
    assert!(matches!(refused, Err(PlatformError::Challenge { .. })), "{refused:?}");
}

#[test]
fn a_folder_behind_a_link_is_not_the_agents() {
    let (_folder, path) = folder();
    let (real, other) = (path.join("real"), path.join("other"));
    std::fs::create_dir_all(real.join("tokens")).unwrap();
    std::fs::write(real.join("tokens/x.key"), "k").unwrap();
    symlink(real.join("tokens"), path.join("tokens")).unwrap();
    symlink(&real, &other).unwrap();
    assert!(read_key(&real.join("tokens/x.key"), &real.join("tokens")).is_ok());
    for linked in [path.join("tokens"), other.join("tokens")] {
        let refused = read_key(&linked.join("x.key"), &linked);
        assert!(matches!(refused, Err(PlatformError::Challenge { .. })), "{}", linked.display());
    }
}

/// A thread replaces the file by a link to another file again and again while the file is read.
#[test]
fn what_is_swapped_meanwhile_is_not_read() {
    let (_folder, path) = folder();
    let (file, secret) = (path.join("x.key"), path.join("secret"));
    std::fs::write(&secret, "another's").unwrap();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let (plain, link) = (path.join("plain"), path.join("link"));
            while !done.load(Ordering::Relaxed) {
                std::fs::write(&plain, "k").unwrap();
                std::fs::rename(&plain, &file).unwrap();
                symlink(&secret, &link).unwrap();
                std::fs::rename(&link, &file).unwrap();
            }
        });
        let read = (0..20_000).filter_map(|_| read_key(&file, &path).ok());
        let swapped = read.filter(|key| key.expose() != "k").count();
        done.store(true, Ordering::Relaxed);
        assert_eq!(swapped, 0);
    });
}
