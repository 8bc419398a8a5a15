use proptest::prelude::*;

use super::*;

const CALL: Rule = Rule::offset(7, 8);
const FRAME: Rule = Rule { fp: fp::AT_CFA, fp_offset: -16, ..Rule::offset(6, 16) };

fn key() -> Key {
    Key { build_id: (1..=20).collect(), size: 0x1122, device: 0x0803, owner: 1000, layout: 0xa1b2_c3d4 }
}

/// The rule of a number in the run.
fn in_run(number: u16) -> Rule {
    match number {
        7 => CALL,
        9 => FRAME,
        _ => Rule::GAP,
    }
}

/// Two of four pages.
fn entry() -> Vec<u8> {
    let mut draft = Draft::default();
    draft.page(1, [(0, 9), (4, 7), (0x100, 9)], in_run);
    draft.page(3, [(0, 0)], in_run);
    draft.finish(&key(), 0x40, 4).unwrap()
}

/// Everything that an entry says.
type Content = (Head, Vec<Vec<(u16, u16)>>);

fn read(bytes: &[u8]) -> Result<Content, Damaged> {
    let head_bytes = head_bytes(bytes.get(..FIXED_BYTES).ok_or(Damaged("length"))?)?;
    let start = bytes.get(..usize::try_from(head_bytes).unwrap()).ok_or(Damaged("length"))?;
    let head = head(start, bytes.len() as u64, &key())?;
    let page = |page: &Present| {
        let rows = bytes.get(usize::try_from(page.at).unwrap()..).and_then(|rest| rest.get(..page.bytes()));
        rows_of(rows.ok_or(Damaged("length"))?, page, head.rules.len())
    };
    let pages = head.present.iter().map(page).collect::<Result<_, _>>()?;
    Ok((head, pages))
}

use super::rows as rows_of;

/// Go's programs have all of them.
#[test]
fn every_kind_of_rule_is_read_back() {
    let of_kind = |number: u16| Rule::special(u8::try_from(number).unwrap());
    let kinds = 0..=u16::from(kind::OTHER_STACK);
    let mut draft = Draft::default();
    draft.page(0, kinds.clone().map(|number| (number, number)), of_kind);
    let (head, _) = read(&draft.finish(&key(), 0, 1).unwrap()).unwrap();
    assert_eq!(head.rules, kinds.map(of_kind).collect::<Vec<_>>());
}

#[test]
fn lies_in_the_file_as_the_table_says() {
    let bytes = entry();
    assert_eq!(bytes[..8], *b"unwrows\n");
    assert_eq!(bytes[8..12], sum(&bytes[12..176]).to_le_bytes(), "checksum up to the first row");
    assert_eq!(bytes[12..16], [1, 0, 0, 0], "version");
    assert_eq!(bytes[16..24], GENERATION.to_le_bytes());
    let fixed = [
        &[
            0x22, 0x11, 0, 0, 0, 0, 0, 0, 3, 8, 0, 0, 0, 0, 0, 0, 0xe8, 3, 0, 0, 0xd4, 0xc3, 0xb2, 0xa1, 20,
            0, 0, 0,
        ][..],
        &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20],
        &[0; 12],
        &[0x40, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0],
    ];
    assert_eq!(bytes[24..104], fixed.concat());
    let rows = [0, 0, 0, 0, 4, 0, 1, 0, 0, 1, 0, 0, 0, 0, 2, 0];
    let pages = [&[1, 0, 0, 0, 3, 0, 0, 0][..], &sum(&rows[..12]).to_le_bytes(), &[3, 0, 0, 0, 1, 0, 0, 0]];
    assert_eq!(bytes[104..124], pages.concat());
    assert_eq!(bytes[124..128], sum(&rows[12..]).to_le_bytes());
    let rules = [
        [6, 6, 1, 0, 0, 0, 0, 0, 16, 0, 0, 0, 0xf0, 0xff, 0xff, 0xff],
        [6, 7, 0, 0, 0, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0],
        [0; 16],
    ];
    assert_eq!(bytes[128..176], rules.concat());
    assert_eq!(bytes[176..], rows);
}

#[test]
fn comes_back_as_it_was() {
    let (head, pages) = read(&entry()).unwrap();
    assert_eq!((head.first_page, head.pages), (0x40, 4));
    assert_eq!(head.rules, [FRAME, CALL, Rule::GAP]);
    assert_eq!(head.present.iter().map(|page| page.page).collect::<Vec<_>>(), [1, 3]);
    assert_eq!(pages, [vec![(0, 0), (4, 1), (0x100, 0)], vec![(0, 2)]]);
}

#[test]
fn every_changed_byte_is_found() {
    let bytes = entry();
    for at in 0..bytes.len() {
        for change in 1..=255 {
            let mut changed = bytes.clone();
            changed[at] ^= change;
            assert!(read(&changed).is_err(), "byte {at} xor {change}");
        }
    }
}

#[test]
fn every_other_length_is_found() {
    let bytes = entry();
    for len in 0..bytes.len() {
        assert!(read(&bytes[..len]).is_err(), "{len} bytes");
    }
    assert!(read(&[bytes, vec![0]].concat()).is_err());
}

#[test]
fn is_of_one_object_and_one_generation_only() {
    let bytes = entry();
    let start = &bytes[..176];
    let other = Key { owner: 0, ..key() };
    assert_eq!(head(start, bytes.len() as u64, &other), Err(Damaged("key")));
    for at in [12, 16] {
        // With the checksum made right.
        let mut start = start.to_vec();
        start[at] ^= 1;
        let right = sum(&start[12..]).to_le_bytes();
        start[8..12].copy_from_slice(&right);
        assert_eq!(head(&start, bytes.len() as u64, &key()), Err(Damaged("key")));
    }
}

#[test]
fn rows_have_to_rise_from_zero_and_name_rules_that_are_there() {
    let check = |rows: &[(u16, u16)]| {
        let row = |row: &(u16, u16)| [row.0.to_le_bytes(), row.1.to_le_bytes()].concat();
        let bytes: Vec<u8> = rows.iter().flat_map(row).collect();
        let present = Present { page: 0, rows: rows.len() as u32, sum: sum(&bytes), at: 0 };
        rows_of(&bytes, &present, 2)
    };
    assert_eq!(check(&[(0, 1), (5, 0)]), Ok(vec![(0, 1), (5, 0)]));
    for wrong in [&[][..], &[(1, 0)], &[(0, 0), (5, 1), (5, 0)], &[(0, 0), (5, 1), (4, 0)], &[(0, 2)]] {
        assert_eq!(check(wrong), Err(Damaged("order of rows")), "{wrong:?}");
    }
}

#[test]
fn rules_that_nobody_writes_are_found() {
    let one = |rule: Rule| {
        let bytes = rule_bytes(rule);
        super::rule(&mut Cursor::new(&bytes, 0))
    };
    assert_eq!(one(FRAME), Some(FRAME));
    for wrong in [
        Rule { kind: 10, ..FRAME },
        Rule { fp: 4, ..FRAME },
        Rule { ra: 3, ..FRAME },
        Rule { cfa_register: REGISTERS, ..FRAME },
        Rule { fp_register: REGISTERS, ..FRAME },
        Rule { ra_register: REGISTERS, ..FRAME },
    ] {
        assert_eq!(one(wrong), None, "{wrong:?}");
    }
}

#[test]
fn what_is_too_large_or_nothing_is_left_out() {
    assert_eq!(Draft::default().finish(&key(), 0, 1), None);
    let mut draft = Draft::default();
    let page: Vec<(u16, u16)> = (0..=u16::MAX).map(|offset| (offset, 0)).collect();
    for number in 0..100 {
        let fits = draft.page(number, page.iter().copied(), in_run);
        assert_eq!(fits, (number as usize) < MOST_BYTES >> 18);
    }
    let bytes = draft.finish(&key(), 0, 100).unwrap();
    assert!(bytes.len() <= MOST_BYTES + 4096);
    assert_eq!(read(&bytes).unwrap().1.len(), MOST_BYTES >> 18);
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        let _ = read(&bytes);
    }

    #[test]
    fn any_change_with_right_checksums_is_read_or_refused(
        changes in proptest::collection::vec((0..184_usize, any::<u8>()), 1..8),
        cut in 0..=184_usize,
    ) {
        let mut bytes = entry();
        for (at, byte) in changes {
            bytes[at] = byte;
        }
        bytes.truncate(cut.max(FIXED_BYTES));
        // The checksum of the head over as much as the head claims to be: what is behind it gets looked at.
        if let Ok(head_bytes) = head_bytes(&bytes[..FIXED_BYTES])
            && let Some(summed) = usize::try_from(head_bytes).ok().and_then(|end| bytes.get(SUMMED_FROM..end))
        {
            let right = sum(summed).to_le_bytes();
            bytes[8..12].copy_from_slice(&right);
        }
        if let Ok((head, pages)) = read(&bytes) {
            prop_assert_eq!(head.present.len(), pages.len());
            prop_assert!(pages.iter().flatten().all(|row| usize::from(row.1) < head.rules.len()));
        }
    }

    #[test]
    fn any_rows_come_back(pages in proptest::collection::btree_map(
        0..50_u32,
        proptest::collection::btree_map(1_u16.., 0..40_u16, 0..60),
        1..6,
    )) {
        let rule = |number: u16| Rule::offset(7, i32::from(number));
        let mut draft = Draft::default();
        let rows = |rows: &std::collections::BTreeMap<u16, u16>| {
            let mut all = vec![(0, 3)];
            all.extend(rows.iter().map(|(&offset, &number)| (offset, number)));
            all
        };
        for (&page, page_rows) in &pages {
            draft.page(page, rows(page_rows), rule);
        }
        let bytes = draft.finish(&key(), 7, 50).unwrap();
        let (head, read) = read(&bytes).unwrap();
        for ((page, page_rows), (present, read)) in pages.iter().zip(head.present.iter().zip(&read)) {
            prop_assert_eq!(*page, present.page);
            let resolved: Vec<_> = read.iter().map(|&(at, number)| (at, head.rules[usize::from(number)])).collect();
            let expected: Vec<_> = rows(page_rows).into_iter().map(|(at, number)| (at, rule(number))).collect();
            prop_assert_eq!(resolved, expected);
        }
    }
}
