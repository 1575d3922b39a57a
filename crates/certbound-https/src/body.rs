//! The whole body of an answer, within its limit.

use std::pin::pin;

use bytes::Bytes;
use certbound_core::cause::Cause;
use certbound_core::secret::SecretBytes;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::body::Body;

use crate::error::Error;

/// The maximum size of the buffer before the first read, in bytes.
const ROOM: usize = 64 * 1024;

/// Reads the whole of `body`, at most `limit` bytes. The function's buffers and its result are wiped when they are
/// dropped, because an answer may contain a token.
///
/// # Errors
/// [`Error::TooLarge`] and [`Error::Interrupted`].
pub async fn whole<B>(body: B, limit: usize) -> Result<Bytes, Error>
where
    B: Body<Data = Bytes>,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    // A server may announce a longer body than it sends.
    let announced = body.size_hint().exact().and_then(|length| usize::try_from(length).ok());
    let mut collected = SecretBytes::with_capacity(announced.unwrap_or_default().min(limit).min(ROOM));
    let mut body = pin!(Limited::new(body, limit));
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| match error.is::<LengthLimitError>() {
            true => Error::TooLarge { limit },
            false => Error::Interrupted { reason: Cause::new(error) },
        })?;
        if let Some(data) = frame.data_ref() {
            grow(&mut collected, data.len());
            collected.extend_from_slice(data);
        }
    }
    Ok(Bytes::from_owner(collected))
}

/// Makes room for `more` bytes: copies the buffer into a new buffer and wipes the old buffer. A `Vec` that grows would
/// leave the old bytes in memory.
fn grow(buffer: &mut SecretBytes, more: usize) {
    let needed = buffer.len() + more;
    if needed > buffer.capacity() {
        let mut larger = SecretBytes::with_capacity((needed * 2).max(4096));
        larger.extend_from_slice(buffer);
        *buffer = larger;
    }
}
