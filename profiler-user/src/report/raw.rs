//! A profile's own tables: google/pprof's `-raw`. The report is the profile; see [`super::text::raw`] and
//! [`super::json::raw`].

use super::node::Inlines;
use super::subject::{Lens, ReportError, Subject};
use crate::profile::proto::Profile;

/// The profile with what the lens leaves of it, and the options that matched nothing. Addresses stay whatever is to be
/// told apart.
///
/// # Errors
/// The profile is inconsistent, or does not have the value that is asked for.
pub fn raw(profile: &Profile, lens: &Lens) -> Result<(Profile, Vec<&'static str>), ReportError> {
    let Subject { profile, unmatched, .. } = Subject::new(profile, lens)?;
    let mut profile = profile.into_owned();
    if lens.inlines == Inlines::Merged {
        for location in &mut profile.location {
            location.line.drain(..location.line.len().saturating_sub(1));
            location.line.iter_mut().for_each(|line| line.column = 0);
        }
        profile.mapping.iter_mut().for_each(|mapping| mapping.has_inline_frames = false);
    }
    Ok((profile, unmatched))
}
