//! Reports over a profile.
