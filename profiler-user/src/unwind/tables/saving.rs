//! When rows are written to the cache: at the end of a window and of the run, never while a sample waits.

use super::{Code, Kernel, Origin, Tables};
use crate::unwind::memory::Words;

/// Bytes of entries that are written at the end of a window; the last one may go beyond. The others' turn comes in the
/// next window.
const BYTES_A_WINDOW: usize = 4 << 20;
/// Pages that an entry is written for at the least. They take a millisecond to build; fewer are not worth a file.
const LEAST_PAGES: u32 = 4;

impl<W: Words, K: Kernel> Tables<W, K> {
    /// Ends the run: writes what the next one can use.
    pub fn finish(&mut self) {
        // Not for every page, so that runs over the same code come to write nothing.
        self.save(usize::MAX, |code| code.has_grown_by(8));
    }

    /// Writes what is worth it by now. An entry is written anew as a whole, so only each time it has grown by half, and
    /// before its object is forgotten.
    pub(super) fn save_window(&mut self) {
        self.save(BYTES_A_WINDOW, |code| code.has_grown_by(if code.users == 0 { 8 } else { 2 }));
    }

    /// Writes the entries that are due, those first that had the most pages built, until so many bytes are written.
    fn save(&mut self, most_bytes: usize, due: impl Fn(&Code) -> bool) {
        // Without a number left for it, a rule counts as unsupported: that is for this run only.
        let Some(store) = self.store.as_mut().filter(|_| !self.rules.is_full()) else {
            return;
        };
        let mut codes: Vec<&mut Code> = self.code.values_mut().flatten().filter(|code| due(code)).collect();
        codes.sort_unstable_by_key(|code| std::cmp::Reverse(code.unsaved));
        let mut written = 0;
        for Code { source, loaded, unsaved, .. } in codes {
            if written >= most_bytes {
                break;
            }
            // Should it fail, it is tried again once there is as much again to write.
            *unsaved = 0;
            written += source.save(store, &mut self.rules, |page| {
                let page = loaded.get(&page).filter(|page| page.origin != Origin::Failed)?;
                Some(self.pool.rows(page.extent, page.rows as usize))
            });
        }
    }
}

impl Code {
    /// Whether pages were built, one for every `share` that the cache has, and enough to be worth it.
    fn has_grown_by(&self, share: u32) -> bool {
        self.unsaved >= LEAST_PAGES.max(self.source.saved() / share)
    }
}

#[cfg(test)]
mod tests;
