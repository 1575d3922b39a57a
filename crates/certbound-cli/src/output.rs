//! Writes results to stdout and messages to stderr.

mod token;
mod token_result;

use std::borrow::Cow;
use std::io::{ErrorKind, IsTerminal as _, Write as _};

use certbound::UnixTime;
use certbound_core::shown::{self, lines};
use clap::ColorChoice;
use serde::Serialize;
use zeroize::Zeroizing;

pub(crate) use self::token::{Token, tell_region, tell_unseen};
pub(crate) use self::token_result::{CertificateResult, Extras, print_token};
use crate::failure::{Failure, number, one};
use crate::flags::{CommonFlags, Format};
use crate::layout::{columns, folded};
use crate::usage::Usage;

/// The streams of this process, and the format of its results.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terminal {
    asked: Option<Format>,
    stdout: bool,
    talkative: bool,
}

impl Terminal {
    pub(crate) fn of_process(flags: &CommonFlags) -> Self {
        let talkative = flags.verbose || std::io::stderr().is_terminal();
        Self { asked: flags.output, stdout: std::io::stdout().is_terminal(), talkative }
    }

    /// Returns the format of the result.
    pub(crate) fn format(self) -> Format {
        self.asked.unwrap_or(if self.stdout { Format::Table } else { Format::Json })
    }

    /// Returns the format of the result of a command that supports only these formats.
    pub(crate) fn format_of(self, supported: &[Format]) -> Result<Format, Usage> {
        let format = self.format();
        if supported.contains(&format) { Ok(format) } else { Err(Usage::Format { format: format.into() }) }
    }

    /// Returns the format of the result of a command that prints JSON on a terminal too.
    pub(crate) fn format_or_json(self, supported: &[Format]) -> Result<Format, Usage> {
        Self { stdout: false, ..self }.format_of(supported)
    }

    /// Returns the columns and rows of the terminal on stdout.
    pub(crate) fn size(self) -> Option<(usize, usize)> {
        let size = rustix::termios::tcgetwinsize(std::io::stdout()).ok().filter(|_| self.stdout)?;
        (size.ws_col > 0).then_some((size.ws_col.into(), size.ws_row.into()))
    }

    /// Returns whether the result is coloured. With `auto` it is coloured on a terminal with colours, unless `NO_COLOR`
    /// is set.
    pub(crate) fn is_coloured(self, choice: ColorChoice) -> bool {
        let variable = |name: &str| std::env::var(name).unwrap_or_default();
        match choice {
            ColorChoice::Always => true,
            ColorChoice::Never => false,
            ColorChoice::Auto => self.stdout && variable("NO_COLOR").is_empty() && variable("TERM") != "dumb",
        }
    }

    /// Returns whether the result is JSON because it is printed in a pipe, and not because of a flag or a variable.
    pub(crate) fn is_json_by_default(self) -> bool {
        self.asked.is_none() && !self.stdout
    }

    /// Returns whether the result is printed on a terminal.
    pub(crate) fn is_seen(self) -> bool {
        self.stdout
    }

    /// Returns whether the stations of the flow are reported on stderr.
    pub(crate) fn tells_stations(self) -> bool {
        self.talkative
    }
}

/// Writes a result to stdout. A pipe that its reader has closed is not an error.
pub(crate) fn print(bytes: &[u8]) -> Result<(), Failure> {
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(bytes).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(Failure::of_system("the result could not be written", &error))
        }
        _ => Ok(()),
    }
}

/// Writes a line to stderr. On a terminal a long line is broken between its words. A failed write is ignored, because
/// it cannot be reported.
pub(crate) fn tell(line: &str) {
    let line = one(line);
    let _ = match std::io::stderr().is_terminal() {
        true => writeln!(std::io::stderr(), "{}", folded(&line, columns(std::io::stderr()))),
        false => writeln!(std::io::stderr(), "{line}"),
    };
}

/// Writes lines for people to stdout, without control characters and invisible characters. Long lines are broken
/// between their words.
pub(crate) fn print_text(text: &str) -> Result<(), Failure> {
    print(fitted(&lines(text)).as_bytes())
}

/// Returns a text whose lines fit on the terminal of stdout. Without a terminal, they fit into 80 columns.
pub(crate) fn fitted(text: &str) -> String {
    folded(text, columns(std::io::stdout()))
}

/// Formats a result as JSON. The buffer is wiped and has its full size from the start, because a growing buffer leaves
/// copies. Control characters are escaped.
pub(crate) fn json<T: Serialize>(value: &T, secret_bytes: usize) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let mut text = Zeroizing::new(Vec::with_capacity(2 * secret_bytes + 16 * 1024));
    serde_json::to_writer_pretty(&mut *text, value)
        .map_err(|error| Failure::of_system("the result could not be written", &error.into()))?;
    text.push(b'\n');
    // JSON is always UTF-8.
    let escaped = match str::from_utf8(&text).map(shown::json) {
        Ok(Cow::Owned(escaped)) => Some(Zeroizing::new(escaped.into_bytes())),
        _ => None,
    };
    Ok(escaped.unwrap_or(text))
}

/// Formats a line of a table.
pub(crate) fn row(name: &str, value: &str) -> String {
    format!("{:<13}{}\n", one(name), one(value))
}

pub(crate) fn mark(ok: bool) -> &'static str {
    if ok { "✓" } else { "✗" }
}

/// Returns `before`, the secret and `after` in one buffer that is wiped.
pub(crate) fn filled(length: usize, before: &str, secret: &str, after: &str) -> Zeroizing<Vec<u8>> {
    let mut text = Zeroizing::new(Vec::with_capacity(before.len() + length + after.len()));
    text.extend_from_slice(before.as_bytes());
    text.extend_from_slice(secret.as_bytes());
    text.extend_from_slice(after.as_bytes());
    text
}

/// Formats one line for each name and value. [`Format::Shell`] quotes and exports the values. The buffer is wiped.
pub(crate) fn assignments(format: Format, values: &[(&str, &str)]) -> Zeroizing<Vec<u8>> {
    let (export, quote) = if format == Format::Shell { ("export ", "'") } else { ("", "") };
    // A quote in a value takes four bytes. The buffer has its full size from the start, because a growing buffer leaves
    // copies.
    let length = |(name, value): &(&str, &str)| name.len() + 4 * value.len() + 16;
    let mut text = Zeroizing::new(Vec::with_capacity(values.iter().map(length).sum()));
    for (name, value) in values {
        for part in [export, name, "=", quote] {
            text.extend_from_slice(part.as_bytes());
        }
        for byte in value.bytes() {
            match (format, byte) {
                (Format::Shell, b'\'') => text.extend_from_slice(br"'\''"),
                _ => text.push(byte),
            }
        }
        text.extend_from_slice(quote.as_bytes());
        text.push(b'\n');
    }
    text
}

pub(crate) fn leg_name(leg: Option<certbound::error::Leg>) -> String {
    leg.map_or_else(|| "token request".to_owned(), |leg| format!("Leg {}", number(leg)))
}

pub(crate) fn rfc3339(time: UnixTime) -> String {
    let seconds = i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
    jiff::Timestamp::from_second(seconds).unwrap_or(jiff::Timestamp::MAX).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shell_reads_every_value_as_it_is() {
        let values = [("A", "mtls_pop"), ("B", "it's $HOME `id`")];
        assert_eq!(*assignments(Format::Env, &values), b"A=mtls_pop\nB=it's $HOME `id`\n");
        let shell = assignments(Format::Shell, &values);
        assert_eq!(
            *shell,
            br"export A='mtls_pop'
export B='it'\''s $HOME `id`'
"
        );
        let script = [&**shell, br#"printf '%s|%s' "$A" "$B""#].concat();
        let output =
            std::process::Command::new("sh").arg("-c").arg(str::from_utf8(&script).unwrap()).output();
        assert_eq!(output.unwrap().stdout, b"mtls_pop|it's $HOME `id`");
    }
}
