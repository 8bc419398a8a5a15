//! Where an object's rows come from: the cache, or the object's file.

use std::{fs::File, io, sync::Arc};

use profiler_common::unwind::rule::Rule;

use super::{
    Error, Result, Table,
    memory::{Rules, Words},
    store::{Changed, Draft, Entry, Key, Store},
    table::has_debug_frame,
};
use crate::process::{Object, debug_file};

/// What the rows of a page are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PageKind {
    /// The file's.
    Sound,
    /// A stand-in: the file has none that can be understood, and never will.
    Unsupported,
    /// A stand-in: the file could not be read, for want of descriptors, memory or a disk that answers. That may pass.
    Unread,
}

/// The rows of an object.
pub(super) struct Source {
    object: Arc<Object>,
    /// The separate debug file, if it has rules. Rows by it are not cached: it may be gone or another one next time.
    debug: Option<File>,
    /// Opened when a page is wanted that the cache has not.
    table: Option<Table>,
    first_page: u64,
    pages: u32,
    /// What the cache knows it by, if it may be there, and when the file changed last.
    key: Option<(Key, Changed)>,
    entry: Option<Cached>,
    /// Whether no more pages fit into an entry, or the cache is too small for it.
    full: bool,
}

/// An entry with the numbers of its rules in this run, as far as they are known.
struct Cached {
    entry: Entry,
    numbers: Vec<Option<u16>>,
}

impl Cached {
    fn new(entry: Entry) -> Self {
        let numbers = vec![None; entry.rules().len()];
        Self { entry, numbers }
    }
}

impl Source {
    /// The rows of an object, from the cache if it has any.
    ///
    /// # Errors
    ///
    /// As for [`Table::open`].
    pub(super) fn open(object: &Arc<Object>, store: Option<&mut Store>) -> Result<Self> {
        let debug = debug_file::by_build_id(object).filter(has_debug_frame);
        let key = (store.is_some() && debug.is_none()).then(|| Key::of(object)).flatten();
        let mut source = Self {
            object: Arc::clone(object),
            debug,
            table: None,
            first_page: 0,
            pages: 0,
            key,
            entry: None,
            full: false,
        };
        source.look_up(store);
        if let Some(cached) = &source.entry {
            (source.first_page, source.pages) = (cached.entry.first_page(), cached.entry.pages());
        } else {
            let range = source.table()?.pages();
            source.first_page = *range.start();
            source.pages =
                u32::try_from(range.end() - range.start() + 1).map_err(|_| Error::TooLarge("code"))?;
        }
        Ok(source)
    }

    /// Number of the first page of code.
    pub(super) fn first_page(&self) -> u64 {
        self.first_page
    }

    /// Pages of code.
    pub(super) fn pages(&self) -> u32 {
        self.pages
    }

    /// The rows of a page, by its number from the first: offsets, and what `number` makes of the rules. Says also whether they
    /// are the file's.
    pub(super) fn page(
        &mut self,
        page: u32,
        store: Option<&mut Store>,
        mut number: impl FnMut(Rule) -> u16,
    ) -> (Vec<(u16, u16)>, PageKind) {
        let mut store = store.filter(|_| self.key.is_some());
        if let Some(rows) = self.cached(page, store.as_deref_mut(), &mut number) {
            if let Some(store) = store {
                store.figures.hits += 1;
            }
            return (rows, PageKind::Sound);
        }
        if let Some(store) = store {
            store.figures.misses += 1;
        }
        let address = self.first_page + u64::from(page);
        match self.table().and_then(|table| table.page(address)) {
            Ok(rows) => {
                let numbered = rows.into_iter().map(|(offset, rule)| (offset, number(rule)));
                (numbered.collect(), PageKind::Sound)
            }
            Err(error) => {
                tracing::debug!("a page of an unwind table cannot be built: {error}");
                // A page without rules, so that it is not asked for at once again.
                // A file that ends too early is damaged.
                let refused = matches!(&error, Error::Read(error) if error.raw_os_error().is_some());
                let kind = if refused { PageKind::Unread } else { PageKind::Unsupported };
                (vec![(0, number(Rule::UNSUPPORTED))], kind)
            }
        }
    }

    /// Whether the cache takes pages.
    pub(super) fn is_cached(&self) -> bool {
        self.key.is_some() && !self.full
    }

    /// Number of pages that the cache has.
    pub(super) fn saved(&self) -> usize {
        self.entry.as_ref().map_or(0, |cached| cached.entry.len())
    }

    /// Whether the cache has a page.
    pub(super) fn has(&self, page: u32) -> bool {
        self.entry.as_ref().is_some_and(|cached| cached.entry.page(page).is_some())
    }

    /// Writes an entry with the pages that `loaded` gives, and those that the cache has already. Returns its bytes; 0
    /// where there was nothing to write.
    ///
    /// # Errors
    ///
    /// Where the file system refuses.
    pub(super) fn save<W: Words, Rows: IntoIterator<Item = (u16, u16)>>(
        &mut self,
        store: &mut Store,
        rules: &mut Rules<W>,
        mut loaded: impl FnMut(u32) -> Option<Rows>,
    ) -> io::Result<usize> {
        if self.key.is_none() || Key::of(&self.object) != self.key {
            // Not to be cached; or not any more, for the file was written to and its rows may be of either content.
            self.key = None;
            return Ok(0);
        }
        let mut draft = Draft::default();
        for page in 0..self.pages {
            let fits = if let Some(rows) = loaded(page) {
                draft.page(page, rows, |number| rules.get(number))
            } else if let Some(rows) = self.cached(page, Some(store), |rule| rules.number(rule)) {
                draft.page(page, rows, |number| rules.get(number))
            } else {
                true
            };
            self.full |= !fits;
        }
        let Some((key, _)) = self.key.as_ref().filter(|_| !rules.is_full()) else {
            return Ok(0);
        };
        let Some(bytes) = draft.finish(key, self.first_page, self.pages) else {
            return Ok(0);
        };
        if !store.holds(bytes.len()) {
            self.full = true;
            return Ok(0);
        }
        store.save(key, &bytes)?;
        self.look_up(Some(store));
        Ok(bytes.len())
    }

    /// Takes what the cache has now.
    fn look_up(&mut self, store: Option<&mut Store>) {
        if let (Some(store), Some((key, _))) = (store, &self.key) {
            self.entry = store.find(key).map(Cached::new);
        }
    }

    fn cached(
        &mut self,
        page: u32,
        store: Option<&mut Store>,
        mut number: impl FnMut(Rule) -> u16,
    ) -> Option<Vec<(u16, u16)>> {
        let (Some(store), Some((key, _)), Some(cached)) = (store, &self.key, &mut self.entry) else {
            return None;
        };
        let present = cached.entry.page(page)?;
        let Some(mut rows) = store.rows(key, &cached.entry, &present) else {
            self.entry = None;
            return None;
        };
        for row in &mut rows {
            // Reading has checked that the number is one of the list's.
            let at = usize::from(row.1);
            let rule = cached.entry.rules().get(at).copied().unwrap_or(Rule::UNSUPPORTED);
            row.1 = match cached.numbers.get_mut(at) {
                Some(known) => *known.get_or_insert_with(|| number(rule)),
                None => number(rule),
            };
        }
        Some(rows)
    }

    fn table(&mut self) -> Result<&mut Table> {
        let table = match self.table.take() {
            Some(table) => table,
            None => Table::open_with_debug(self.file()?, self.debug.as_ref())?,
        };
        Ok(self.table.insert(table))
    }

    fn file(&self) -> Result<&File> {
        self.object.file.as_ref().ok_or_else(|| io::Error::from(io::ErrorKind::NotFound).into())
    }
}
