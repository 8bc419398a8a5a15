//! Which of a sample's values a report is about.

use super::proto::Profile;
use super::text;

/// A choice that the profile does not offer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SampleIndexError {
    /// The profile holds no values at all.
    #[error("the profile has no sample types, so there is no value to report")]
    None,
    /// A name or number that the profile does not have.
    #[error("the profile has no sample type {wanted:?}; choose one of {offered} (or its number, from 0)")]
    Unknown {
        /// What was asked for.
        wanted: String,
        /// The names there are, separated by commas.
        offered: String,
    },
}

/// Finds the value to report: by name or number from 0; without a wish, the profile's `default_sample_type`, or else
/// the last. As in google/pprof, `inuse_space` also finds `space`.
///
/// # Errors
/// The profile has no sample types, or not the one that was asked for.
pub fn sample_index(profile: &Profile, wanted: Option<&str>) -> Result<usize, SampleIndexError> {
    let names: Vec<&str> = profile.sample_type.iter().map(|kind| text(profile, kind.r#type)).collect();
    let last = names.len().checked_sub(1).ok_or(SampleIndexError::None)?;
    let Some(wanted) = wanted.filter(|wanted| !wanted.is_empty()) else {
        let default = text(profile, profile.default_sample_type);
        return Ok(names.iter().position(|&name| !default.is_empty() && name == default).unwrap_or(last));
    };
    let found = match wanted.parse::<usize>() {
        Ok(index) => (index <= last).then_some(index),
        Err(_) => {
            let short = wanted.strip_prefix("inuse_").unwrap_or(wanted);
            names.iter().position(|&name| name == wanted || name == short)
        }
    };
    found.ok_or_else(|| SampleIndexError::Unknown { wanted: wanted.to_owned(), offered: names.join(", ") })
}

#[cfg(test)]
mod tests {
    use super::super::fixture;
    use super::*;

    #[test]
    fn by_name_number_default_and_last() {
        let mut profile = fixture::two_threads();
        let index = |profile: &Profile, wanted| sample_index(profile, wanted);
        assert_eq!(index(&profile, None), Ok(1));
        assert_eq!(index(&profile, Some("samples")), Ok(0));
        assert_eq!(index(&profile, Some("inuse_cpu")), Ok(1));
        assert_eq!(index(&profile, Some("0")), Ok(0));
        assert_eq!(
            index(&profile, Some("2")).unwrap_err().to_string(),
            "the profile has no sample type \"2\"; choose one of samples, cpu (or its number, from 0)"
        );
        assert!(index(&profile, Some("wall")).is_err());
        profile.default_sample_type = 1;
        assert_eq!(index(&profile, None), Ok(0));
        profile.default_sample_type = 8;
        assert_eq!(index(&profile, None), Ok(1), "an unknown default means the last");
        assert_eq!(index(&Profile::default(), None), Err(SampleIndexError::None));
    }
}
