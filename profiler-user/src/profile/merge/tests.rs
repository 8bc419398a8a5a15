use proptest::prelude::*;

use super::super::fixture;
use super::*;

fn sum(profile: &Profile, index: usize) -> i64 {
    profile.sample.iter().map(|sample| sample.value[index]).sum()
}

#[test]
fn two_of_the_same_double_and_one_stays_itself() {
    let one = fixture::two_threads();
    let merged = merge([&one, &one], Duration::Sum).unwrap();
    validate::check(&merged, Rules::Written).unwrap();
    assert_eq!(merged.sample.len(), 3);
    assert_eq!((sum(&merged, 0), sum(&merged, 1)), (12, 120_000_000));
    assert_eq!((merged.mapping.len(), merged.location.len(), merged.function.len()), (2, 4, 3));
    assert_eq!(merged.duration_nanos, 2_000_000_000);
    assert_eq!(merged.period, one.period);
    let alone = merge([&one], Duration::Sum).unwrap();
    assert_eq!((alone.duration_nanos, sum(&alone, 0)), (1_000_000_000, 6));
}

#[test]
fn the_length_of_one_window_is_not_added_up() {
    let one = fixture::two_threads();
    let merged = merge([&one, &one], Duration::Nanoseconds(7)).unwrap();
    assert_eq!(merged.duration_nanos, 7);
}

#[test]
fn the_same_binary_elsewhere_in_memory_is_one_mapping() {
    let one = fixture::two_threads();
    let mut moved = one.clone();
    moved.mapping[0].memory_start += 0x10_0000;
    // One page less one byte: the same size in pages.
    moved.mapping[0].memory_limit += 0x10_0000 - 0xfff;
    for location in &mut moved.location[..3] {
        location.address += 0x10_0000;
    }
    let merged = merge([&one, &moved], Duration::Sum).unwrap();
    assert_eq!(merged.sample.len(), 3);
    assert_eq!(merged.mapping[0].memory_start, 0x1000);
    assert_eq!(merged.location.iter().map(|location| location.address).min(), Some(0x1100));
    // The shorter one first: the range grows, so that every address lies in it.
    let merged = merge([&moved, &one], Duration::Sum).unwrap();
    assert_eq!(merged.mapping[0].memory_limit, 0x10_5000);
    validate::check(&merged, Rules::Written).unwrap();

    moved.string_table[6] = "another build".to_owned();
    let merged = merge([&one, &moved], Duration::Sum).unwrap();
    assert_eq!((merged.mapping.len(), merged.sample.len()), (3, 6), "another build-id is another binary");
}

#[test]
fn flags_hold_for_both() {
    let one = fixture::two_threads();
    let mut bare = one.clone();
    bare.mapping[0].has_functions = false;
    for flagged in [[&one, &bare], [&bare, &one]] {
        let merged = merge(flagged, Duration::Sum).unwrap();
        assert!(!merged.mapping[0].has_functions);
        assert!(merged.mapping[0].has_filenames);
    }
}

#[test]
fn headers_combine() {
    let mut early = fixture::two_threads();
    let mut late = early.clone();
    let mut unknown = early.clone();
    early.string_table.extend(["a comment".to_owned(), "another".to_owned()]);
    early.comment = vec![18, 19];
    early.default_sample_type = 0;
    late.string_table.extend(["another".to_owned(), "a third".to_owned()]);
    late.comment = vec![18, 19];
    late.time_nanos += 5;
    late.period = 11_000_000;
    unknown.time_nanos = 0;
    for order in [[&late, &unknown, &early], [&unknown, &early, &late]] {
        let merged = merge(order, Duration::Sum).unwrap();
        assert_eq!(merged.time_nanos, early.time_nanos, "earliest known");
        assert_eq!(merged.period, 11_000_000);
        assert_eq!(text(&merged, merged.default_sample_type), "cpu");
        let mut comments: Vec<&str> = merged.comment.iter().map(|&comment| text(&merged, comment)).collect();
        comments.sort_unstable();
        assert_eq!(comments, ["a comment", "a third", "another"]);
    }
}

#[test]
fn comments_are_bounded() {
    let mut profile = fixture::two_threads();
    profile.string_table.extend((0..300).map(|number| format!("comment {number}")));
    profile.comment = (18..318).collect();
    let merged = merge([&profile], Duration::Sum).unwrap();
    assert_eq!(merged.comment.len(), MOST_COMMENTS + 1);
    let last = text(&merged, *merged.comment.last().unwrap());
    assert_eq!(last, "200 more comments were left out in merging");
}

#[test]
fn what_cancels_out_leaves_nothing_behind() {
    let one = fixture::two_threads();
    let mut negative = one.clone();
    negative.sample.remove(1);
    for sample in &mut negative.sample {
        sample.value.iter_mut().for_each(|value| *value = -*value);
    }
    let merged = merge([&one, &negative], Duration::Sum).unwrap();
    assert_eq!(merged.sample.len(), 1);
    assert_eq!(merged.location.len(), 2);
    assert_eq!(merged.duration_nanos, 2_000_000_000);
    assert_eq!(merged.mapping.len(), 1, "the vDSO is gone");
}

#[test]
fn refuses_and_stays_as_it_was() {
    let one = fixture::two_threads();
    let mut heap = one.clone();
    heap.string_table[3] = "inuse_space".to_owned();
    let mut broken = one.clone();
    broken.sample[0].location_id[0] = 99;
    let mut merger = Merger::new();
    merger.add(&one).unwrap();
    assert_eq!(
        merger.add(&heap).unwrap_err().to_string(),
        "its sample types samples/count, inuse_space/nanoseconds cannot be added to samples/count, \
         cpu/nanoseconds of the profiles before it"
    );
    assert!(matches!(merger.add(&broken), Err(MergeError::Invalid(Invalid::Reference { .. }))));
    assert_eq!(merger.finish(Duration::Sum).unwrap(), merge([&one], Duration::Sum).unwrap());
    assert_eq!(merge([], Duration::Sum), Err(MergeError::Nothing));
}

proptest! {
    #[test]
    fn sums_are_conserved_in_any_order(
        profiles in proptest::collection::vec(fixture::profiles(), 1..5),
        rotate in 0_usize..5,
    ) {
        let merged = merge(&profiles, Duration::Sum).unwrap();
        validate::check(&merged, Rules::Readable).unwrap();
        let mut other = profiles.clone();
        other.rotate_left(rotate % profiles.len());
        other.reverse();
        let turned = merge(&other, Duration::Sum).unwrap();
        for index in 0..2 {
            let total: i64 = profiles.iter().map(|profile| sum(profile, index)).sum();
            prop_assert_eq!(sum(&merged, index), total);
            prop_assert_eq!(sum(&turned, index), total);
        }
        prop_assert_eq!(merged.sample.len(), turned.sample.len());
        prop_assert_eq!(merged.location.len(), turned.location.len());
        prop_assert_eq!(merged.function.len(), turned.function.len());
        prop_assert_eq!(merged.duration_nanos, turned.duration_nanos);
        prop_assert_eq!(merged.period, turned.period);
        prop_assert_eq!(merged.time_nanos, turned.time_nanos);
    }

    #[test]
    fn merging_again_changes_nothing(profiles in proptest::collection::vec(fixture::profiles(), 1..4)) {
        let once = merge(&profiles, Duration::Sum).unwrap();
        let twice = merge([&once], Duration::Sum).unwrap();
        prop_assert_eq!(&twice.sample.len(), &once.sample.len());
        prop_assert_eq!(&twice.location.len(), &once.location.len());
        // Not `once`: a main binary that only a later profile names stands behind other strings there.
        prop_assert_eq!(merge([&twice], Duration::Sum).unwrap(), twice);
    }
}
