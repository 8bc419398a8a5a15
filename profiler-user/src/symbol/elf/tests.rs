//! With a process that reads which ends when it is told to.

use std::{
    cell::RefCell,
    collections::{BTreeSet, VecDeque},
    rc::Rc,
};

use super::*;
use crate::{budget::Memory, symbol::Function};

/// What was asked, and the questions over which it ends, by their kind.
#[derive(Debug, Default)]
struct Log {
    asked: Vec<&'static str>,
    /// Questions for lines, too.
    lines: usize,
    ends: VecDeque<(&'static str, Refusal)>,
    held: BTreeSet<u64>,
}

/// Names everything after the file that it is in.
struct Fake(Rc<RefCell<Log>>);

impl Fake {
    fn ask(&self, what: &'static str) -> Result<(), Refusal> {
        let mut log = self.0.borrow_mut();
        log.asked.push(what);
        if log.ends.front().is_none_or(|(over, _)| *over != what) {
            return Ok(());
        }
        let Some((_, refusal)) = log.ends.pop_front() else { return Ok(()) };
        if refusal != Refusal::NoMemory {
            log.held.clear();
        }
        Err(refusal)
    }
}

impl Reading for Fake {
    fn hold(&mut self, number: u64, _: &File) -> Result<Contents, Refusal> {
        self.ask("hold")?;
        self.0.borrow_mut().held.insert(number);
        Ok(Contents { link: Link::None, debug_bytes: 0 })
    }

    fn names(&mut self, number: u64, lines: bool, addresses: &[u64]) -> Result<Vec<Functions>, Refusal> {
        self.0.borrow_mut().lines += usize::from(lines);
        self.ask("names")?;
        assert!(self.0.borrow().held.contains(&number), "file {number} is not held");
        let function = Function { name: format!("in {number}"), file: String::new(), line: 0 };
        Ok(addresses.iter().map(|_| Functions::from([function.clone()])).collect())
    }

    fn go_names(&mut self, _: u64, _: &[u64]) -> Result<Option<Vec<Functions>>, Refusal> {
        self.ask("go").map(|()| None)
    }

    fn checksum(&mut self, _: &File) -> Result<Option<u32>, Refusal> {
        self.ask("checksum").map(|()| None)
    }

    fn forget(&mut self, number: u64) -> Result<(), Refusal> {
        self.ask("forget")?;
        assert!(self.0.borrow_mut().held.remove(&number), "file {number} was not held");
        Ok(())
    }

    fn release_pages(&mut self) -> Result<(), Refusal> {
        self.ask("release")
    }

    fn trim(&mut self) -> Result<(), Refusal> {
        self.ask("trim")
    }
}

fn namer(bytes: u64) -> (ElfNamer, Rc<RefCell<Log>>) {
    let log = Rc::<RefCell<Log>>::default();
    let reading = Box::new(Fake(Rc::clone(&log)));
    (ElfNamer::new(reading, Gauge::new(Memory { bytes }), Pace::new(None)), log)
}

fn object(id: u64) -> Object {
    // No debug file has the build-id of a text.
    Object::of_file(id, File::open(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml")).unwrap())
}

fn first_name(named: &(Vec<Functions>, Certainty)) -> Option<&str> {
    named.0[0].first().map(|function| &*function.name)
}

#[test]
fn the_file_over_which_it_ends_twice_has_no_names_and_the_others_have() {
    let (mut namer, log) = namer(1 << 40);
    let (good, hostile) = (object(1), object(2));
    assert_eq!(first_name(&namer.name(&good, &[1])), Some("in 2"));
    log.borrow_mut().ends.extend([("names", Refusal::Ended), ("names", Refusal::Ended)]);
    assert_eq!(first_name(&namer.name(&hostile, &[1])), None);
    assert_eq!(log.borrow().lines, 2);
    assert_eq!(first_name(&namer.name(&good, &[2])), Some("in 2"));
    let asked = log.borrow().asked.len();
    assert_eq!(first_name(&namer.name(&hostile, &[2])), None);
    assert_eq!(log.borrow().asked.len(), asked, "it is not asked again");
}

#[test]
fn debug_information_over_which_it_ends_or_runs_out_of_memory_does_not_cost_the_symbols() {
    for refusal in [Refusal::Ended, Refusal::NoMemory] {
        let (mut namer, log) = namer(1 << 40);
        let hostile = object(1);
        log.borrow_mut().ends.push_back(("names", refusal));
        for address in [1, 1, 2] {
            assert_eq!(first_name(&namer.name(&hostile, &[address])), Some("in 2"));
        }
        assert_eq!(log.borrow().lines, 1, "its lines are not asked for again");
        assert_eq!(namer.name(&hostile, &[3]).1, Certainty::Certain);
        assert_eq!(first_name(&namer.name(&object(2), &[1])), Some("in 4"));
        assert_eq!(log.borrow().lines, 2, "another one's are");
    }
}

#[test]
fn an_end_over_nothing_in_particular_costs_no_names() {
    let (mut namer, log) = namer(1 << 40);
    let object = object(1);
    assert_eq!(first_name(&namer.name(&object, &[1])), Some("in 2"));
    log.borrow_mut().ends.push_back(("trim", Refusal::Ended));
    namer.end_window();
    assert_eq!(first_name(&namer.name(&object, &[2])), Some("in 2"));
    for _ in 0..=IDLE_WINDOWS {
        namer.end_window();
    }
    assert!(log.borrow().held.is_empty(), "what nobody asks about is let go of");
}

#[test]
fn an_end_before_a_question_costs_one_window_its_names() {
    let (mut namer, log) = namer(1 << 40);
    let object = object(1);
    log.borrow_mut().ends.push_back(("names", Refusal::Replaced));
    assert_eq!(namer.name(&object, &[1]).1, Certainty::Provisional);
    let named = namer.name(&object, &[1]);
    assert_eq!((first_name(&named), named.1), (Some("in 2"), Certainty::Certain));
}

#[test]
fn without_memory_files_are_held_once_for_each_batch() {
    // Everything is more than this budget.
    let (mut namer, log) = namer(1);
    let addresses: Vec<u64> = (0..3 * BATCH as u64).collect();
    let (named, certainty) = namer.name(&object(1), &addresses);
    assert!(named.iter().all(|functions| functions.len() == 1) && certainty == Certainty::Certain);
    let held = log.borrow().asked.iter().filter(|asked| **asked == "hold").count();
    assert_eq!(held, 3);
}

#[test]
fn where_nothing_was_asked_nobody_is_woken() {
    let (mut namer, log) = namer(1 << 40);
    namer.end_window();
    assert!(log.borrow().asked.is_empty());
}
