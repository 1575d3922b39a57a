//! The catalogue of error codes.

mod aadsts;

pub use self::aadsts::{Aadsts, aadsts};
