//! What a receiver's answer means for what was sent.

use std::time::Duration;

/// Why something has not arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It may arrive later: the receiver is away, busy, or does not know us yet.
    Later {
        /// What the receiver asked to wait.
        after: Option<Duration>,
        /// For the log.
        why: String,
    },
    /// It may arrive in pieces.
    TooLarge {
        /// For the log.
        why: String,
    },
    /// It will never be taken.
    Never {
        /// For the log.
        why: String,
    },
}

impl Refusal {
    /// For the log.
    #[must_use]
    pub fn why(&self) -> &str {
        match self {
            Refusal::Later { why, .. } | Refusal::TooLarge { why } | Refusal::Never { why } => why,
        }
    }
}

/// Longest wait that a receiver may ask for.
pub(super) const LONGEST_WAIT: Duration = Duration::from_secs(3600);

/// How much of an answer's text is kept.
const TEXT: usize = 300;

/// What an HTTP answer means (RFC 9110, section 15); `Ok` for all that say that it has arrived.
///
/// # Errors
/// What has not.
pub fn of_status(status: u16, retry_after: Option<&str>, body: &str) -> Result<(), Refusal> {
    let text = clean(body);
    let why = if text.is_empty() { format!("status {status}") } else { format!("status {status}: {text}") };
    match status {
        200..=299 => Ok(()),
        413 => Err(Refusal::TooLarge { why }),
        // 401, 403, 404, 407: the token, the address or the proxy is wrong, and somebody will mend it.
        401 | 403 | 404 | 407 | 408 | 425 | 429 | 500.. => {
            Err(Refusal::Later { after: wait(retry_after), why })
        }
        // What is moved is not followed: a token would go along.
        _ => Err(Refusal::Never { why }),
    }
}

/// What somebody else wrote, for the log: on one line, and not too long.
pub(super) fn clean(text: &str) -> String {
    text.trim().chars().take(TEXT).map(|char| if char.is_control() { ' ' } else { char }).collect()
}

/// Seconds (RFC 9110, section 10.2.3). A date is not heeded: clocks differ, and the usual back-off does.
pub(super) fn wait(retry_after: Option<&str>) -> Option<Duration> {
    retry_after?.trim().parse().ok().map(|seconds| Duration::from_secs(seconds).min(LONGEST_WAIT))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_class() {
        assert_eq!(of_status(200, None, ""), Ok(()));
        assert_eq!(of_status(204, None, ""), Ok(()));
        let class = |status| match of_status(status, None, "").unwrap_err() {
            Refusal::Later { .. } => "later",
            Refusal::TooLarge { .. } => "too large",
            Refusal::Never { .. } => "never",
        };
        for status in [401, 403, 404, 408, 429, 500, 502, 503, 504] {
            assert_eq!(class(status), "later", "{status}");
        }
        for status in [301, 400, 405, 410, 415, 422] {
            assert_eq!(class(status), "never", "{status}");
        }
        assert_eq!(class(413), "too large");
    }

    #[test]
    fn waits_as_long_as_it_is_told() {
        let after = |header: &str| match of_status(429, Some(header), "slow\ndown") {
            Err(Refusal::Later { after, why }) => (after.map(|wait| wait.as_secs()), why),
            other => panic!("{other:?}"),
        };
        assert_eq!(after("7"), (Some(7), "status 429: slow down".to_owned()));
        assert_eq!(after("999999999").0, Some(3600));
        assert_eq!(after("Wed, 21 Oct 2026 07:28:00 GMT").0, None);
        assert_eq!(after("-1").0, None);
    }
}
