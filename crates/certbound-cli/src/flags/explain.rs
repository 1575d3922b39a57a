//! Flags of `explain`.

use std::ffi::OsStr;

use certbound_core::catalogue::GROUPS;
use clap::builder::{PossibleValue, StringValueParser, TypedValueParser};
use clap::{Arg, Args, Command};

use super::{ColorFlag, switch};

#[derive(Args, Debug)]
pub(crate) struct ExplainFlags {
    /// The code, such as invalid_tenant or AADSTS700027.
    ///
    /// The case does not matter, and AADSTS can be left out. With --list it is a text that the listed codes or their
    /// meanings contain.
    #[arg(value_name = "CODE", hide_possible_values = true, value_parser = CodeParser)]
    pub(crate) code: Option<String>,
    /// List all codes with their meanings.
    #[arg(long, env = "CERTBOUND_LIST", value_parser = switch())]
    pub(crate) list: bool,
    #[command(flatten)]
    pub(crate) color: ColorFlag,
}

/// The parser of a code. It accepts every text, and lists the codes of certbound for the completion in a shell.
#[derive(Clone, Debug)]
struct CodeParser;

impl TypedValueParser for CodeParser {
    type Value = String;

    fn parse_ref(&self, command: &Command, arg: Option<&Arg>, value: &OsStr) -> Result<String, clap::Error> {
        StringValueParser::new().parse_ref(command, arg, value)
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        let entries = GROUPS.iter().flat_map(|group| group.entries);
        Some(Box::new(entries.map(|entry| PossibleValue::new(entry.code))))
    }
}
