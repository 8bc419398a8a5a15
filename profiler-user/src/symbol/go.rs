//! Names of Go programs without symbols.

use std::{fs::File, sync::Arc};

use super::{Function, Functions};
use crate::unwind::{Error, GoNames};

/// The functions at these addresses of a file, in the order of the addresses, by Go's table of functions; `None` where it is no Go
/// program, or has symbols, which are better.
///
/// The table is opened for each question: there is little to read, and new code is not seen often.
pub(super) fn names(file: &File, addresses: &[u64]) -> Result<Option<Vec<Functions>>, Error> {
    let file = Arc::new(file.try_clone()?);
    let Some(mut names) = GoNames::open(&file)? else {
        return Ok(None);
    };
    let function = |address: &u64| {
        let found = names.look(*address)?;
        Ok(found
            .map(|found| Function { name: found.name, file: found.file, line: found.line })
            .into_iter()
            .collect())
    };
    addresses.iter().map(function).collect::<Result<_, Error>>().map(Some)
}
