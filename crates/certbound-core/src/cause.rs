//! The original cause of one of certbound's errors: an error of another library, of the system, or of the application.

use std::error::Error;
use std::fmt;
use std::io;
use std::ops::Deref;
use std::sync::Arc;

use crate::shown::one_line;

/// The original cause of one of certbound's errors. Clones share the error.
///
/// `Display` and `Debug` write the error's text and the texts of its sources in one line. Two causes with equal texts
/// are equal, because errors of other libraries cannot be compared. A cause dereferences to its error, so that
/// `source()` of certbound's errors returns the original error.
#[derive(Clone)]
pub struct Cause(Arc<dyn Error + Send + Sync>);

impl Cause {
    /// Stores `error`, which can also be a text. An I/O error with an inner error is replaced by its inner error,
    /// because `source()` of an I/O error does not return the inner error.
    pub fn new(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        let mut error = error.into();
        while error.downcast_ref::<io::Error>().is_some_and(|error| error.get_ref().is_some()) {
            error = match error.downcast::<io::Error>().map(|error| error.into_inner()) {
                Ok(Some(inner)) => inner,
                // This case is impossible: the loop's condition checked that there is an inner error.
                Ok(None) => "an I/O error".into(),
                Err(error) => error,
            };
        }
        Self(Arc::from(error))
    }

    /// Returns the first error of type `E` among the error and its sources.
    pub fn find<E: Error + 'static>(&self) -> Option<&E> {
        let mut next: Option<&(dyn Error + 'static)> = Some(&*self.0);
        while let Some(error) = next {
            if let Some(found) = error.downcast_ref() {
                return Some(found);
            }
            next = match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
                Some(inner) => Some(inner),
                None => error.source(),
            };
        }
        None
    }
}

impl Deref for Cause {
    type Target = dyn Error + Send + Sync;

    fn deref(&self) -> &Self::Target {
        &*self.0
    }
}

impl From<String> for Cause {
    fn from(text: String) -> Self {
        Self::new(text)
    }
}

impl From<&str> for Cause {
    fn from(text: &str) -> Self {
        Self::new(text)
    }
}

impl From<io::Error> for Cause {
    fn from(error: io::Error) -> Self {
        Self::new(error)
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = self.0.to_string();
        let mut next = self.0.source();
        while let Some(error) = next {
            let more = error.to_string();
            // Many errors repeat the text of their source.
            if !text.ends_with(&more) {
                text = format!("{text}: {more}");
            }
            next = error.source();
        }
        f.pad(&one_line(&text))
    }
}

impl fmt::Debug for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.to_string(), f)
    }
}

impl PartialEq for Cause {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.to_string() == other.to_string()
    }
}

impl Eq for Cause {}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("the disk is full")]
    struct Inner;

    #[derive(Debug, thiserror::Error)]
    #[error("cannot\nwrite")]
    struct Outer(#[source] Inner);

    /// An error with a cause, like the errors of certbound.
    #[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
    #[error("it failed: {cause:.20}")]
    struct Ours {
        #[source]
        cause: Cause,
    }

    #[test]
    fn the_source_of_our_error_is_the_original_error() {
        let ours = Ours { cause: Cause::new(Outer(Inner)) };
        let source = ours.source().expect("a source");
        assert!(source.is::<Outer>() && source.source().is_some_and(|inner| inner.is::<Inner>()));
        assert_eq!(ours.cause.to_string(), "cannot write: the disk is full");
        assert_eq!(ours.to_string(), "it failed: cannot write: the di");
        assert_eq!(ours, ours.clone());
        assert_ne!(ours.cause, "another".into());
        assert_eq!(ours.cause, "cannot write: the disk is full".into());
    }

    #[test]
    fn the_error_inside_an_io_error_is_found() {
        let wrapped = || io::Error::other(io::Error::other(Outer(Inner)));
        assert!(Cause::new(wrapped()).find::<Outer>().is_some());
        assert!(Cause::new(wrapped()).find::<Inner>().is_some());
        let cause = Cause::new(io::Error::other(Inner));
        assert!((*cause).is::<Inner>() && cause.find::<Outer>().is_none());
        let plain = Cause::from(io::Error::from(io::ErrorKind::NotFound));
        assert!((*plain).is::<io::Error>());
    }
}
