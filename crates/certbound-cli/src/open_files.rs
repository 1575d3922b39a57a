//! The number of files that this process may open.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Raises the soft limit to the hard limit, for a server. Each connection is an open file. The usual soft limit is
/// 1024, and a server accepts 1024 connections. Programs that the server starts inherit the higher limit.
pub(crate) fn allow_all() {
    let limit = getrlimit(Resource::Nofile);
    // If this fails, the server closes idle connections earlier to make room.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
}
