//! The recorded stacks of `tests/golden`, walked again. Needs neither root nor the programs.

use std::sync::LazyLock;

use profiler_common::outcome::{Kind, Outcome};
use profiler_common::stack::MAX_USER_FRAMES;
use profiler_common::unwind::{Architecture, X86_64};
use profiler_tests::golden::programs::RECIPES;
use profiler_tests::golden::replay::Replayed;
use profiler_tests::golden::{self, Fault, Replay, Snapshot};
use profiler_tests::golden::{Machine, aarch64};
use proptest::prelude::*;

/// All snapshots, decoded.
static REPLAYS: LazyLock<Vec<(String, Snapshot, Replay)>> = LazyLock::new(|| {
    let decoded = golden::all().into_iter().map(|(name, snapshot)| {
        let replay = Replay::of(&snapshot);
        (name, snapshot, replay)
    });
    decoded.collect()
});

/// The address of each frame and its place in its object, without the function: replay has no symbols.
fn places(snapshot: &Snapshot) -> Vec<String> {
    let place = |line: &String| line.splitn(3, ' ').take(2).collect::<Vec<_>>().join(" ");
    snapshot.frames.iter().map(place).collect()
}

#[test]
fn every_stack_is_walked_as_recorded() {
    for (name, snapshot, replay) in REPLAYS.iter() {
        let replayed = replay.run(&[]);
        assert_eq!(replay.places(&replayed.frames), places(snapshot), "{name}: {snapshot}");
        assert_eq!(replayed.outcome.name(), snapshot.outcome, "{name}: {snapshot}");
    }
}

#[test]
fn unreadable_addresses_are_met_and_end_the_walk() {
    for (name, snapshot, replay) in REPLAYS.iter() {
        assert!(snapshot.faults.len() > 1, "{name} has variants with unreadable memory");
        for fault in &snapshot.faults {
            check_fault(&format!("{name} without {}", fault.what), replay, fault);
        }
    }
}

fn check_fault(what: &str, replay: &Replay, fault: &Fault) {
    let replayed = replay.run(&fault.ranges());
    for (range, hit) in fault.unreadable.iter().zip(&replayed.hit) {
        assert!(hit, "{what}: the walk does not ask for {range}");
    }
    assert_eq!(replayed.outcome.name(), fault.outcome, "{what}");
    let mut expected = replay.run(&[]).frames[..fault.frames - 1].to_vec();
    expected.push(fault.last.0);
    assert_eq!(replayed.frames, expected, "{what}");
}

#[test]
fn any_missing_word_keeps_the_leaf_side() {
    for (name, _, replay) in REPLAYS.iter() {
        let whole = replay.run(&[]);
        for &address in &whole.asked {
            let replayed = replay.run(std::slice::from_ref(&(address..address + 8)));
            assert_eq!(replayed.hit, [true]);
            // One is added to where a handler returns to. Without the instructions there nothing tells what it is.
            let is_code = whole.frames.contains(&(address + 1));
            let expected = if is_code { "unmapped_pc" } else { "unreadable_memory" };
            assert_eq!(replayed.outcome.name(), expected, "{name} without {address:#x}");
            let kept = replayed.frames.len();
            assert!(kept < whole.frames.len(), "{name} without {address:#x}");
            // The last one may be a signal's frame, to which nothing has been added yet.
            let leaf_side = &whole.frames[..kept - 1];
            assert_eq!(&replayed.frames[..kept - 1], leaf_side, "{name} without {address:#x}");
        }
    }
}

#[test]
fn an_unreadable_address_that_is_not_asked_for_shows() {
    for (name, _, replay) in REPLAYS.iter() {
        let whole = replay.run(&[]);
        // Code, which no recorded walk had to read.
        let code = replay.start.pc..replay.start.pc + 1;
        let replayed = replay.run(std::slice::from_ref(&code));
        assert_eq!((replayed.hit, replayed.frames), (vec![false], whole.frames), "{name}");
    }
}

#[test]
fn each_recipe_has_its_snapshot_and_none_is_left_over() {
    let foreign = aarch64::RECIPES.iter().map(|r| (r.name, r.description));
    let mut recipes: Vec<(&str, &str)> =
        RECIPES.iter().map(|r| (r.name, r.description)).chain(foreign).collect();
    recipes.sort_unstable();
    let snapshots: Vec<(&str, &str)> =
        REPLAYS.iter().map(|(name, snapshot, _)| (name.as_str(), snapshot.description.as_str())).collect();
    assert_eq!(snapshots, recipes);
}

#[test]
fn a_signal_that_interrupts_its_own_frame_ends_at_the_depth_that_is_kept() {
    let (_, _, replay) = REPLAYS.iter().find(|(name, ..)| name == "c-signal").unwrap();
    let whole = replay.run(&[]);
    let is_context = |words: &&[u64]| words.windows(2).all(|pair| pair[1] == pair[0] + 8);
    let context = whole.asked.windows(Machine::X86_64.context_words()).find(is_context).unwrap()[0];
    // rsp and rip are the last two words of the context. One was added to where the handler returns to.
    let mut endless = replay.clone();
    endless.set(context + 15 * 8, context - X86_64::SIGNAL_CONTEXT);
    endless.set(context + 16 * 8, whole.frames[2] - 1);
    let replayed = endless.run(&[]);
    assert_eq!((replayed.outcome, replayed.frames.len()), (Outcome::TooDeep, MAX_USER_FRAMES));
}

/// A word of another value.
#[derive(Debug, Clone)]
enum Change {
    /// Any number.
    To(u64),
    /// A little more or less.
    By(i64),
    /// What is elsewhere in memory: most likely to lead on.
    As(prop::sample::Index),
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        1 => prop_oneof![Just(0), Just(u64::MAX), any::<u64>()].prop_map(Change::To),
        2 => (-64i64..=64).prop_map(Change::By),
        4 => any::<prop::sample::Index>().prop_map(Change::As),
    ]
}

impl Change {
    fn apply(&self, word: u64, words: &[u64]) -> u64 {
        match self {
            Change::To(value) => *value,
            Change::By(delta) => word.wrapping_add_signed(*delta),
            Change::As(index) => *index.get(words),
        }
    }
}

/// Changes what a walk starts from and what it reads.
fn corrupt(
    replay: &Replay,
    registers: &[(usize, Change)],
    words: &[(prop::sample::Index, Change)],
) -> Replay {
    let mut corrupt = replay.clone();
    let all: Vec<u64> = replay.zones.iter().flat_map(|(_, words)| words).copied().collect();
    for (number, change) in registers {
        let word = corrupt.start.registers.get_mut(*number).unwrap_or(&mut corrupt.start.pc);
        *word = change.apply(*word, &all);
    }
    // What the walk does not read changes nothing.
    let asked = replay.run(&[]).asked;
    for (index, change) in words {
        let address = index.get(&asked);
        if let Some(word) = corrupt.word(*address) {
            corrupt.set(*address, change.apply(word, &all));
        }
    }
    corrupt
}

/// Whether a walk ended within its bounds.
fn is_bounded(replayed: &Replayed, machine: Machine) -> bool {
    let frames = replayed.frames.len();
    // Each step reads three words for its rule and one to know a signal's frame, and that has its context.
    (1..=MAX_USER_FRAMES).contains(&frames)
        && replayed.asked.len() <= frames * (3 + 1 + machine.context_words())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn corrupt_stacks_end(
        which in any::<prop::sample::Index>(),
        registers in prop::collection::vec((0usize..33, change()), 0..4),
        words in prop::collection::vec((any::<prop::sample::Index>(), change()), 0..6),
    ) {
        let (_, _, replay) = which.get(&REPLAYS);
        let replayed = corrupt(replay, &registers, &words).run(&[]);
        prop_assert!(is_bounded(&replayed, replay.start.machine), "{replayed:?}");
        let kind = replayed.outcome.kind();
        prop_assert!(matches!(kind, Kind::Complete | Kind::Truncated), "{replayed:?}");
    }
}
