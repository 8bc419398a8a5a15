//! Names of Go programs without symbols.

use std::{collections::HashSet, fs::File, sync::Arc};

use super::{Function, Functions};
use crate::{
    process::Object,
    unwind::{Error, GoNames},
};

/// Objects of which it is remembered that they are no such programs.
const MOST_OTHERS: usize = 4096;

/// Reads Go's table of functions where there is nothing better.
///
/// It is opened for each question: there is little to read, and new code is not seen often.
#[derive(Debug, Default)]
pub(super) struct GoNamer {
    /// Objects that have no such table, or have symbols, by id.
    others: HashSet<u64>,
}

impl GoNamer {
    /// Looks at an object again the next time.
    pub(super) fn forget(&mut self, object: &Object) {
        self.others.remove(&object.id);
    }

    /// The functions at these addresses of an object, in the order of the addresses; none where it is no Go program.
    pub(super) fn name(&mut self, object: &Object, file: &File, addresses: &[u64]) -> Vec<Functions> {
        if self.others.contains(&object.id) {
            return Vec::new();
        }
        match look(file, addresses) {
            Ok(Some(functions)) => return functions,
            Ok(None) => {}
            Err(error) => tracing::debug!("{}: Go's names cannot be read: {error}", object.path),
        }
        if self.others.len() >= MOST_OTHERS {
            self.others.clear();
        }
        self.others.insert(object.id);
        Vec::new()
    }
}

fn look(file: &File, addresses: &[u64]) -> Result<Option<Vec<Functions>>, Error> {
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
