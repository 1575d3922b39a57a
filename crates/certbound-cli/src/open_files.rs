//! How many files this process may have open.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Raises the soft limit to the hard one, for a server: each connection is an open file, and the usual soft limit is as low
/// as the number of connections that a server takes. Programs that it starts would have the higher limit too.
pub(crate) fn allow_all() {
    let limit = getrlimit(Resource::Nofile);
    // With fewer files, idle connections are closed earlier to make room.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
}
