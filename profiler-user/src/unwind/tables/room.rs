//! Making room in the pool.

use super::{Extent, Kernel, Tables, Words};

impl<W: Words, K: Kernel> Tables<W, K> {
    /// Takes room, at the cost of what was sampled least recently.
    pub(super) fn take(&mut self, bytes: usize) -> Option<Extent> {
        if let Some(extent) = self.pool.take(bytes) {
            return Some(extent);
        }
        if self.pool.has_limbo() {
            self.reclaim();
            if let Some(extent) = self.pool.take(bytes) {
                return Some(extent);
            }
        }
        for share in [16, 4, 1] {
            self.evict(share);
            self.reclaim();
            if let Some(extent) = self.pool.take(bytes) {
                return Some(extent);
            }
        }
        self.refused += 1;
        None
    }

    pub(super) fn reclaim(&mut self) {
        self.kernel.wait();
        self.pool.reclaim();
    }

    /// Unloads one in `share` of all pages, those first that were sampled longest ago.
    pub(super) fn evict(&mut self, share: usize) {
        let mut pages: Vec<(u32, u64, u32)> = Vec::new();
        for (&object, code) in &self.code {
            let Some(code) = code else { continue };
            for (&page, loaded) in &code.loaded {
                let used = self.pool.page_used(code.directory.unit, page);
                let age = self.window.wrapping_sub(used).min(self.window.wrapping_sub(loaded.loaded));
                pages.push((age, object, page));
            }
        }
        pages.sort_unstable_by_key(|&(age, ..)| std::cmp::Reverse(age));
        for &(_, object, page) in pages.iter().take(pages.len().div_ceil(share)) {
            self.unload(object, page);
        }
    }

    pub(super) fn unload(&mut self, object: u64, page: u32) {
        if let Some(Some(code)) = self.code.get_mut(&object)
            && let Some(loaded) = code.loaded.remove(&page)
        {
            self.pool.set_page(code.directory.unit, page, 0);
            self.pool.release(loaded.extent);
            self.evicted += 1;
        }
    }

    pub(super) fn forget_object(&mut self, object: u64) {
        if let Some(Some(code)) = self.code.remove(&object) {
            self.by_directory.remove(&code.directory.unit);
            for page in code.loaded.values() {
                self.pool.release(page.extent);
            }
            self.pool.release(code.directory);
        }
    }
}
