use std::{
    fs::{self, File},
    os::unix::fs::{FileExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::Arc,
};

use profiler_common::{
    layout::ProcessKey,
    unwind::rule::{PAGE_BYTES, Rule},
};

use super::*;
use crate::{
    process::{Area, Mapping, Object, Process, Segment},
    unwind::{
        cfi::Dialect,
        fixture::{self, Memory, NoKernel},
        store::Store,
        walk::Lookup,
    },
};

const START: u64 = 0x10_0000;

fn tables(cache: Option<&Path>) -> Tables<Memory, NoKernel> {
    let tables = fixture::tables();
    match cache {
        Some(folder) => tables.with_cache(Store::open(folder, 1 << 20).unwrap()),
        None => tables,
    }
}

/// A library with some pages of code, a function in each, and call-frame information without a search table.
struct Library {
    path: PathBuf,
    pages: u64,
    build_id: String,
}

impl Library {
    fn new(folder: &Path, pages: u64) -> Self {
        // DW_CFA_advance_loc 4, DW_CFA_def_cfa_offset 48.
        let instructions: &[u8] = &[0x44, 0x0e, 48];
        let functions: Vec<_> = (0..pages)
            .map(|page| (START + page * PAGE_BYTES + 0x100 * (page + 1), 0x80, instructions))
            .collect();
        let (frames, _) = fixture::frames(Dialect::DebugFrame, &functions);
        let code = [fixture::code(START, (pages * PAGE_BYTES) as usize)];
        let elf = fixture::elf(&code, &[fixture::Section::plain(".debug_frame", 0, frames)]);
        let path = folder.join("library");
        fs::write(&path, elf).unwrap();
        Self { path, pages, build_id: "0123456789abcdef0123456789abcdef01234567".to_owned() }
    }

    /// A process that has mapped it.
    fn process(&self, object: u64) -> Process {
        let size = self.pages * PAGE_BYTES;
        let segment = Segment { offset: 64 + 56, size, address: START };
        let object = Arc::new(Object {
            id: object,
            path: "library".to_owned(),
            build_id: self.build_id.clone(),
            mark: None,
            segments: vec![segment],
            file: Some(File::open(&self.path).unwrap()),
            folder: None,
            root: None,
            refused: false.into(),
        });
        let mapping =
            Mapping { start: START, end: START + size, offset: 64 + 56, area: Area::Object(object) };
        Process { mappings: vec![mapping], generation: 1, ..Process::default() }
    }
}

fn process_key(pid: u32) -> ProcessKey {
    ProcessKey { start_ns: 1, pid, exec_id: 1 }
}

/// All rules of a library, at every 32nd address.
fn rules(tables: &mut Tables<Memory, NoKernel>, process: &Process) -> Vec<Rule> {
    let mapping = &process.mappings[0];
    let rule = |pc| match tables.lookup(process, pc) {
        Lookup::Rule(rule) => rule,
        other => panic!("{other:?} at {pc:#x}"),
    };
    (mapping.start..mapping.end).step_by(32).map(rule).collect()
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect()
}

/// Runs once over a library. Gives the rules, and pages from the cache and built.
fn run(cache: &Path, library: &Library) -> (Vec<Rule>, u64, u64) {
    let mut tables = tables(Some(cache));
    let process = library.process(1);
    tables.set_process(process_key(1), &process);
    let rules = rules(&mut tables, &process);
    tables.finish();
    let figures = tables.figures().cache;
    (rules, figures.hits, figures.misses)
}

#[test]
fn the_second_run_takes_the_rows_of_the_first() {
    let folder = tempfile::tempdir().unwrap();
    let cache = folder.path().join("cache");
    for pages in [6, 70] {
        let library = Library { build_id: format!("{pages:040x}"), ..Library::new(folder.path(), pages) };
        let process = library.process(1);
        let mut without = tables(None);
        without.set_process(process_key(1), &process);
        let expected = rules(&mut without, &process);
        assert!(expected.contains(&Rule::offset(7, 48)) && expected.contains(&Rule::FRAME_POINTER));
        assert_eq!(run(&cache, &library), (expected.clone(), 0, pages));
        assert_eq!(run(&cache, &library), (expected, pages, 0));
    }
    assert_eq!(entries(&cache).len(), 2);
}

#[test]
fn the_file_is_not_read_when_the_cache_has_it_all() {
    let folder = tempfile::tempdir().unwrap();
    let cache = folder.path().join("cache");
    let library = Library::new(folder.path(), 6);
    let (expected, ..) = run(&cache, &library);
    // As much of something else: nobody should do that, but it shows.
    let file = File::options().write(true).open(&library.path).unwrap();
    file.write_all_at(&vec![0; 4096], 0).unwrap();
    assert_eq!(run(&cache, &library), (expected, 6, 0));
}

#[test]
fn a_damaged_entry_gives_the_same_rules() {
    let folder = tempfile::tempdir().unwrap();
    let cache = folder.path().join("cache");
    let library = Library::new(folder.path(), 6);
    let (expected, ..) = run(&cache, &library);
    let entries = entries(&cache);
    let [entry] = &entries[..] else { panic!("one entry") };
    let whole = fs::read(entry).unwrap();
    for at in (0..whole.len()).step_by(31).chain([whole.len() - 1]) {
        let mut damaged = whole.clone();
        damaged[at] ^= 0x10;
        fs::write(entry, &damaged).unwrap();
        let (rules, hits, misses) = run(&cache, &library);
        assert!(rules == expected, "byte {at}");
        assert_eq!(hits + misses, 6, "byte {at}");
        assert!(misses > 0, "byte {at}");
        assert_eq!(run(&cache, &library), (rules, 6, 0), "byte {at}: it is whole again");
    }
}

#[test]
fn an_entry_grows_with_what_is_built() {
    let folder = tempfile::tempdir().unwrap();
    let cache = folder.path().join("cache");
    let library = Library::new(folder.path(), 100);
    let process = library.process(1);
    let mut first = tables(Some(&cache));
    first.set_process(process_key(1), &process);
    let load = |tables: &mut Tables<Memory, NoKernel>, pages: std::ops::Range<u64>| {
        for page in pages {
            tables.lookup(&process, START + page * PAGE_BYTES);
        }
    };
    load(&mut first, 0..3);
    assert!(first.end_window(2), "nothing changes where nothing is asked for");
    assert_eq!(entries(&cache).len(), 0, "too few to be worth it");
    load(&mut first, 3..40);
    first.end_window(3);
    let written = first.figures().cache.bytes_written;
    assert!(written > 0);
    load(&mut first, 40..50);
    first.end_window(4);
    assert_eq!(first.figures().cache.bytes_written, written, "a quarter more is not worth it yet");
    first.finish();
    assert!(first.figures().cache.bytes_written > written);
    // Later runs add to it: those pages are there, too, that they do not load.
    let mut second = tables(Some(&cache));
    second.set_process(process_key(1), &process);
    load(&mut second, 60..100);
    second.finish();
    assert_eq!(second.figures().cache.misses, 40);
    let (_, hits, misses) = run(&cache, &library);
    assert_eq!((hits, misses), (90, 10));
}

#[test]
fn pages_that_were_evicted_come_from_the_cache() {
    let folder = tempfile::tempdir().unwrap();
    let library = Library::new(folder.path(), 6);
    let process = library.process(1);
    let mut tables = tables(Some(&folder.path().join("cache")));
    tables.set_process(process_key(1), &process);
    let expected = rules(&mut tables, &process);
    tables.end_window(2);
    tables.evict(1);
    assert_eq!(rules(&mut tables, &process), expected);
    assert_eq!((tables.figures().cache.hits, tables.figures().cache.misses), (6, 6));
}

#[test]
fn what_an_object_is_forgotten_with_was_saved_before() {
    let folder = tempfile::tempdir().unwrap();
    let cache = folder.path().join("cache");
    let library = Library::new(folder.path(), 6);
    let mut tables = tables(Some(&cache));
    tables.set_process(process_key(1), &library.process(1));
    tables.remove_process(&process_key(1));
    // Until then each window counts, and has to be told of.
    let mut window = 2;
    while !tables.end_window(window) && window < 100 {
        window += 1;
    }
    assert_eq!((tables.figures().objects, entries(&cache).len()), (0, 1));
}

#[test]
fn a_file_that_changed_is_not_saved() {
    let folder = tempfile::tempdir().unwrap();
    let cache = folder.path().join("cache");
    let library = Library::new(folder.path(), 6);
    let process = library.process(1);
    let mut tables = tables(Some(&cache));
    tables.set_process(process_key(1), &process);
    // A change of the mode is one that the file system's clock shows, too.
    std::thread::sleep(std::time::Duration::from_millis(20));
    fs::set_permissions(&library.path, fs::Permissions::from_mode(0o755)).unwrap();
    tables.finish();
    assert_eq!(entries(&cache).len(), 0);
}

#[test]
fn objects_without_a_build_id_and_failed_pages_are_not_saved() {
    let folder = tempfile::tempdir().unwrap();
    let cache = folder.path().join("cache");
    let anonymous = Library { build_id: String::new(), ..Library::new(folder.path(), 6) };
    let (_, hits, misses) = run(&cache, &anonymous);
    assert_eq!((hits, misses, entries(&cache).len()), (0, 0, 0));
    // A section that claims to be too large to be indexed makes every page fail. Its header is the second.
    let library = Library::new(folder.path(), 6);
    let file = File::options().read(true).write(true).open(&library.path).unwrap();
    let mut headers_at = [0; 8];
    file.read_exact_at(&mut headers_at, 40).unwrap();
    file.write_all_at(&(2_u64 << 30).to_le_bytes(), u64::from_le_bytes(headers_at) + 64 + 32).unwrap();
    let (rules, _, misses) = run(&cache, &library);
    assert!(rules.iter().all(|&rule| rule == Rule::UNSUPPORTED));
    assert_eq!((misses, entries(&cache).len()), (6, 0));
}

#[test]
fn an_entry_that_the_cache_is_too_small_for_does_not_keep_others_out() {
    let folder = tempfile::tempdir().unwrap();
    let cache = folder.path().join("cache");
    // In a folder of its own: the other library has the same file name.
    let folder_of_large = tempfile::tempdir().unwrap();
    let large = Library::new(folder_of_large.path(), 200);
    let large = large.process(1);
    let small = Library { build_id: "00".repeat(20), ..Library::new(folder.path(), 6) };
    let small = small.process(2);
    let mut tables = tables(None).with_cache(Store::open(&cache, 4096).unwrap());
    for (pid, process) in [(1, &large), (2, &small)] {
        tables.set_process(process_key(pid), process);
        rules(&mut tables, process);
    }
    tables.end_window(2);
    let entries = entries(&cache);
    assert!(entries.len() == 1 && entries[0].to_string_lossy().contains("/0000000000"), "{entries:?}");
}

#[test]
fn a_folder_that_is_gone_or_full_costs_the_cache_only() {
    let folder = tempfile::tempdir().unwrap();
    let cache = folder.path().join("cache");
    let library = Library::new(folder.path(), 6);
    let process = library.process(1);
    let mut tables = tables(Some(&cache));
    tables.set_process(process_key(1), &process);
    fs::remove_dir(&cache).unwrap();
    tables.finish();
    assert_eq!(tables.figures().cache.bytes_written, 0);
    assert!(rules(&mut tables, &process).contains(&Rule::offset(7, 48)));
}
