//! A failure as one sentence: what failed, why, and what mends it.

use std::io;

use crate::sys::remedy::remedy;

/// The error and its causes, each once, and at last what helps against what the system said, where nothing before says so.
pub(super) fn sentence(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain().map(ToString::to_string) {
        // Many errors name their cause themselves.
        if text.contains(&cause) {
            continue;
        }
        if !text.is_empty() {
            text += ": ";
        }
        text += &cause;
    }
    let system = error.chain().find_map(|cause| cause.downcast_ref::<io::Error>()?.raw_os_error());
    if let Some(helps) = system.and_then(remedy)
        && !text.contains(helps)
    {
        text = format!("{text}: {helps}");
    }
    text
}

#[cfg(test)]
mod tests {
    use anyhow::Context;

    use super::*;
    use crate::export::file::WriteError;

    #[test]
    fn a_cause_is_said_once_and_what_helps_at_the_end() {
        let full = || io::Error::from_raw_os_error(libc::ENOSPC);
        let error = WriteError::Io { path: "x".into(), source: full() };
        let said = sentence(&error.into());
        assert_eq!(said.matches("No space left").count(), 1, "{said}");
        assert!(said.starts_with("x cannot be written"), "{said}");
        let error = Err::<(), _>(full()).context("the folder cannot be made").unwrap_err();
        let said = sentence(&error);
        assert!(said.starts_with("the folder cannot be made: No space left on device"), "{said}");
        assert!(said.ends_with(remedy(libc::ENOSPC).unwrap()), "{said}");
    }
}
