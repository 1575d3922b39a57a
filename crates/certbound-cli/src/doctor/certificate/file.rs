//! The permissions of the file that has the private key.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use super::super::Line;
use crate::flags::TwoLegFlags;
use crate::token_uri;

/// The permissions of the group and of other users.
const OTHERS: u32 = 0o077;

pub(super) fn permissions(flags: &TwoLegFlags, is_issued: bool) -> Line {
    const ID: &str = "certificate.permissions";
    const TITLE: &str = "file permissions";
    if is_issued {
        return Line::skipped(ID, TITLE, "the key of a managed identity is not in a file of the user");
    }
    let Some(path) = key_file(flags) else { return Line::skipped(ID, TITLE, "no file is given") };
    if token_uri::text(path).is_some() {
        return Line::skipped(ID, TITLE, "the private key is in a token");
    }
    let shown = path.display();
    let metadata = match std::fs::metadata(path) {
        Ok(metadata) if metadata.is_file() => metadata,
        // The certificate was already read, so the path is a special file, such as a pipe.
        _ => return Line::skipped(ID, TITLE, format!("{shown} is not a regular file")),
    };
    let mode = metadata.permissions().mode() & 0o777;
    match mode & OTHERS {
        0 => Line::ok(ID, TITLE, format!("mode {mode:03o}: only its owner can use the private key")),
        _ => {
            let summary = format!("mode {mode:03o}: other users can use {shown}, which has the private key");
            Line::warning(ID, TITLE, summary, format!("run `chmod 600 {shown}`"))
        }
    }
}

/// Returns the file with the private key.
fn key_file(flags: &TwoLegFlags) -> Option<&Path> {
    let (leg1, certificate) = (&flags.leg1, &flags.client.certificate);
    let path = match &leg1.leg1_certificate {
        Some(path) => leg1.leg1_certificate_key.as_ref().unwrap_or(path),
        None => certificate.certificate_key.as_ref().or(certificate.certificate.as_ref())?,
    };
    Some(path)
}
