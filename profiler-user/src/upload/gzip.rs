//! Requests made smaller.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;

use super::answer::Refusal;

/// Bytes as gzip, made quickly: a window is sent while the host has other work.
///
/// # Errors
/// Never in memory; were it not so, what was to be sent would be refused for good.
pub(super) fn pack(plain: &[u8]) -> Result<Vec<u8>, Refusal> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(plain.len() / 4), Compression::fast());
    let packed = encoder.write_all(plain).and_then(|()| encoder.finish());
    packed.map_err(|error| Refusal::Never { why: error.to_string() })
}
