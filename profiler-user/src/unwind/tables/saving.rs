//! When rows are written to the cache: at the end of a window and of the run, never while a sample waits.

use super::{Code, Kernel, Tables};
use crate::unwind::{memory::Words, source::PageKind};

/// Bytes of entries that are written at the end of a window; the last one may go beyond. The others' turn comes in the
/// next window.
const BYTES_A_WINDOW: usize = 4 << 20;
/// Pages that an entry is written for at the least. They take a millisecond to build; fewer are not worth a file.
const LEAST_PAGES: usize = 4;

impl<W: Words, K: Kernel> Tables<W, K> {
    /// Ends the run: writes what the next one can use.
    pub fn finish(&mut self) {
        // Not for every page, so that runs over the same code come to write nothing.
        self.save(usize::MAX, |code| code.has_grown_by(8));
    }

    /// Writes what is worth it by now. An entry is written anew as a whole, so only each time it has grown by half, and
    /// before its object is forgotten. Says whether that is all.
    pub(super) fn save_window(&mut self) -> bool {
        self.save(BYTES_A_WINDOW, |code| code.has_grown_by(if code.users == 0 { 8 } else { 2 }))
    }

    /// Writes the entries that are due, those first that lack the most pages, until so many bytes are written. Says whether
    /// none is left.
    fn save(&mut self, most_bytes: usize, due: impl Fn(&Code) -> bool) -> bool {
        // Without a number left for it, a rule counts as unsupported: that is for this run only.
        let Some(store) = self.store.as_mut().filter(|_| !self.rules.is_full()) else {
            return true;
        };
        let mut codes: Vec<&mut Code> = self.code.values_mut().flatten().filter(|code| due(code)).collect();
        codes.sort_by_cached_key(|code| std::cmp::Reverse(code.unsaved()));
        let mut written = 0;
        for Code { source, loaded, .. } in codes {
            if written >= most_bytes {
                return false;
            }
            let saved = source.save(store, &mut self.rules, |page| {
                let page = loaded.get(&page).filter(|page| page.kind == PageKind::Sound)?;
                Some(self.pool.rows(page.extent, page.rows as usize))
            });
            match saved {
                Ok(bytes) => written += bytes,
                Err(error) => {
                    // The next one would fail as well; the next window may find room.
                    tracing::debug!("unwind tables cannot be cached now: {error}");
                    return false;
                }
            }
        }
        true
    }
}

impl Code {
    /// Number of loaded pages that the cache lacks.
    fn unsaved(&self) -> usize {
        self.loaded
            .iter()
            .filter(|&(&page, loaded)| loaded.kind == PageKind::Sound && !self.source.has(page))
            .count()
    }

    /// Whether the cache lacks one page for every `share` that it has, and enough to be worth it.
    fn has_grown_by(&self, share: usize) -> bool {
        self.source.is_cached() && self.unsaved() >= LEAST_PAGES.max(self.source.saved() / share)
    }
}

#[cfg(test)]
mod tests;
