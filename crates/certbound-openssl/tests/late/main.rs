//! The OpenSSL transport against servers that request the certificate late, at once, wrongly or never.

mod apache;
mod flow;
mod refused;
mod stranger;
mod support;
