use std::{fs, path::PathBuf};

use super::*;

fn key(number: u8) -> Key {
    Key { build_id: vec![number; 20], size: 5, device: 7, owner: 0, layout: 6 }
}

/// An entry with one page, whose rule depends on `fill`.
fn entry(key: &Key, fill: i32) -> Vec<u8> {
    let mut draft = Draft::default();
    draft.page(0, (0..200).map(|offset| (offset, 0)), |_| Rule::offset(7, fill));
    draft.finish(key, 9, 1).unwrap()
}

fn path(folder: &Path, key: &Key) -> PathBuf {
    folder.join(key.file_name())
}

#[test]
fn what_was_saved_is_found_by_the_next_run() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = Store::open(folder.path(), 1 << 20).unwrap();
    assert!(store.find(&key(1)).is_none());
    store.save(&key(1), &entry(&key(1), 8)).unwrap();
    let mut store = Store::open(folder.path(), 1 << 20).unwrap();
    assert!(store.find(&key(2)).is_none());
    let entry = store.find(&key(1)).unwrap();
    assert_eq!((entry.first_page(), entry.pages(), entry.len()), (9, 1, 1));
    assert!(entry.page(1).is_none());
    let page = entry.page(0).unwrap();
    assert_eq!(store.rows(&key(1), &entry, &page).unwrap().len(), 200);
    assert_eq!(entry.rules(), [Rule::offset(7, 8)]);
    assert_eq!(store.figures.damaged, 0);
}

#[test]
fn a_damaged_entry_is_removed_and_counted() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = Store::open(folder.path(), 1 << 20).unwrap();
    let bytes = entry(&key(1), 8);
    for damaged in [&b""[..], b"unwrows\n", &bytes[..bytes.len() - 1], &vec![0xff; 4096]] {
        fs::write(path(folder.path(), &key(1)), damaged).unwrap();
        assert!(store.find(&key(1)).is_none());
        assert!(!path(folder.path(), &key(1)).exists());
    }
    // Another object's entry under this one's name.
    fs::write(path(folder.path(), &key(1)), entry(&key(2), 8)).unwrap();
    assert!(store.find(&key(1)).is_none());
    assert_eq!(store.figures.damaged, 5);
}

#[test]
fn damage_behind_the_head_shows_when_the_page_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = Store::open(folder.path(), 1 << 20).unwrap();
    let mut bytes = entry(&key(1), 8);
    *bytes.last_mut().unwrap() ^= 1;
    store.save(&key(1), &bytes).unwrap();
    let entry = store.find(&key(1)).unwrap();
    let page = entry.page(0).unwrap();
    assert!(store.rows(&key(1), &entry, &page).is_none());
    assert_eq!(store.figures.damaged, 1);
    assert!(store.find(&key(1)).is_none(), "it is gone");
    // Cut short while it is open.
    store.save(&key(1), &bytes).unwrap();
    let entry = store.find(&key(1)).unwrap();
    fs::OpenOptions::new().write(true).open(path(folder.path(), &key(1))).unwrap().set_len(300).unwrap();
    assert!(store.rows(&key(1), &entry, &page).is_none());
}

#[test]
fn an_open_entry_stays_what_it_was_when_another_takes_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = Store::open(folder.path(), 1 << 20).unwrap();
    store.save(&key(1), &entry(&key(1), 8)).unwrap();
    let before = store.find(&key(1)).unwrap();
    store.save(&key(1), &entry(&key(1), 16)).unwrap();
    let page = before.page(0).unwrap();
    assert!(store.rows(&key(1), &before, &page).is_some());
    assert_eq!(before.rules(), [Rule::offset(7, 8)]);
    assert_eq!(store.find(&key(1)).unwrap().rules(), [Rule::offset(7, 16)]);
}

/// Writes and reads the same few entries for a while. Everything that is read is whole.
fn write_and_read(folder: &Path, rounds: u8) {
    let mut store = Store::open(folder, 1 << 20).unwrap();
    for round in 0..rounds {
        let key = key(round % 3);
        // The other one's start may have taken the unfinished file away.
        let _ = store.save(&key, &entry(&key, i32::from(round)));
        if let Some(entry) = store.find(&key) {
            let page = entry.page(0).unwrap();
            assert!(store.rows(&key, &entry, &page).is_some());
        }
    }
    assert_eq!(store.figures.damaged, 0);
}

#[test]
fn processes_that_write_the_same_entries_do_not_hurt_each_other() {
    const FOLDER: &str = "PROFILER_TEST_STORE";
    if let Some(folder) = std::env::var_os(FOLDER) {
        return write_and_read(Path::new(&folder), 200);
    }
    let folder = tempfile::tempdir().unwrap();
    let test = "unwind::store::tests::processes_that_write_the_same_entries_do_not_hurt_each_other";
    let start = || {
        let mut command = std::process::Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", test]).env(FOLDER, folder.path()).stdout(std::process::Stdio::null());
        command.spawn().unwrap()
    };
    let mut children = [start(), start(), start()];
    write_and_read(folder.path(), 200);
    for child in &mut children {
        assert!(child.wait().unwrap().success());
    }
    let mut store = Store::open(folder.path(), 1 << 20).unwrap();
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 3, "nothing unfinished is left");
    assert!((0..3).all(|number| store.find(&key(number)).is_some()));
}
