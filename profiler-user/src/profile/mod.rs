//! The profile model: pprof's own, as plain data. No clock, no file and no kernel is touched in here.
//!
//! [`proto`] are the messages, [`codec`] their bytes, [`validate`] what a consumer may rely on, [`merge`] several
//! profiles as one, [`arrange`] how one takes few bytes, [`filter`] and [`labels`] the choice of frames and samples, [`sample_index`] the choice of a value.

pub mod arrange;
pub mod base;
pub mod build;
pub mod codec;
pub mod filter;
pub mod ids;
pub mod labels;
pub mod merge;
pub mod proto;
pub mod prune;
pub mod sample_index;
mod table;
pub mod validate;

/// The string behind an index of a profile's string table; empty where the index is out of range, which
/// [`validate::check`] refuses.
#[must_use]
pub fn text(profile: &proto::Profile, index: i64) -> &str {
    usize::try_from(index).ok().and_then(|index| profile.string_table.get(index)).map_or("", String::as_str)
}

#[cfg(test)]
pub(crate) mod fixture;
