//! Addresses with names in braces, which stand for what is sent there.

use time::{OffsetDateTime, macros::format_description};

use super::batch::{Batch, Series};

/// Puts values in for `{service}` and other labels, `{start}` (as `20261124T150405Z`), `{seconds}` and `{id}`; each goes
/// through `encode`. A label that the series does not have is `none`.
pub(super) fn fill(
    template: &str,
    batch: &Batch,
    series: &Series,
    encode: impl Fn(&str) -> String,
) -> String {
    let mut address = String::new();
    let mut rest = template;
    while let Some((before, behind)) = rest.split_once('{') {
        let Some((name, after)) = behind.split_once('}') else { break };
        address.push_str(before);
        let value = match name {
            "start" => start(batch.start_unix_ns),
            "seconds" => (batch.duration_ns / 1_000_000_000).to_string(),
            "id" => series.uuid(),
            label => series.label(label).unwrap_or("none").to_owned(),
        };
        address.push_str(&encode(&value));
        rest = after;
    }
    address.push_str(rest);
    address
}

/// When a window began; what is no time is the beginning of all.
pub(super) fn moment(unix_ns: u64) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(unix_ns)).unwrap_or(OffsetDateTime::UNIX_EPOCH)
}

/// `20261124T150405Z`.
fn start(unix_ns: u64) -> String {
    let form = format_description!("[year][month][day]T[hour][minute][second]Z");
    moment(unix_ns).format(form).unwrap_or_default()
}

/// A value in a path or a query (RFC 3986, section 2.3); no dots at its ends, which would be steps in a path.
pub(super) fn encoded(text: &str) -> String {
    let dots = text.bytes().all(|byte| byte == b'.');
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_~".contains(&byte) || (byte == b'.' && !dots) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}
