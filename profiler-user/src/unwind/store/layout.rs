//! How an entry lies in its file. Pure: bytes in, numbers out.
//!
//! All numbers are little-endian. Each part has a checksum of its own, so a page is read without the others:
//!
//! | bytes | content |
//! |---|---|
//! | 8 | [`MAGIC`] |
//! | 4 | CRC-32 of everything behind it up to the first row |
//! | 4 | [`VERSION`] of this layout |
//! | 8 | [`GENERATION`] of what made the rows |
//! | 8, 8, 4, 4, 4, 32 | key: size, device, owner, layout; length of the build-id; the build-id and zeros |
//! | 8, 4 | number of the object's first page, its pages |
//! | 4, 4 | pages that are here, rules |
//! | 12 each | pages, in rising order: number from the first, rows, CRC-32 of the rows |
//! | 16 each | rules |
//! | 4 each | rows, page after page: offset, number in the list of rules |

use flate2::Crc;
use profiler_common::unwind::{
    pool::MAX_RULES,
    rule::{PAGE_BYTES, Rule, fp, kind, ra},
};

use super::{
    super::cursor::Cursor,
    key::{GENERATION, Key, MOST_ID_BYTES},
};

const MAGIC: [u8; 8] = *b"unwrows\n";
const VERSION: u32 = 1;
/// Bytes up to the list of pages.
pub(super) const FIXED_BYTES: usize = 104;
/// What the first checksum covers begins here.
const SUMMED_FROM: usize = 12;
const PAGE_ENTRY_BYTES: u64 = 12;
const RULE_BYTES: u64 = 16;
const ROW_BYTES: u64 = 4;
/// Pages of an object: 4 GiB of code.
const MOST_PAGES: u32 = 1 << 16;
/// Bytes of an entry. All of libLLVM takes five million.
const MOST_BYTES: usize = 16 << 20;
/// Registers that rules name: the general ones and the return address.
const REGISTERS: u8 = profiler_common::unwind::GENERAL as u8 + 1;

/// An entry is not what was written: why.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("its {0} is not what was written")]
pub(super) struct Damaged(pub(super) &'static str);

/// A page that an entry has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Present {
    /// Number, from the object's first.
    pub(super) page: u32,
    pub(super) rows: u32,
    sum: u32,
    /// Place of the rows in the file.
    pub(super) at: u64,
}

impl Present {
    /// Bytes of the rows.
    pub(super) fn bytes(&self) -> usize {
        self.rows as usize * ROW_BYTES as usize
    }
}

/// Everything of an entry but its rows.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) first_page: u64,
    /// The object's pages.
    pub(super) pages: u32,
    /// Those that are here, in rising order.
    pub(super) present: Vec<Present>,
    pub(super) rules: Vec<Rule>,
}

/// The numbers before the lists.
struct Fixed {
    sum: u32,
    version: u32,
    generation: u64,
    key: Key,
    first_page: u64,
    pages: u32,
    present: u32,
    rules: u32,
}

fn fixed(bytes: &[u8]) -> Option<Fixed> {
    let mut cursor = Cursor::new(bytes, 0);
    if cursor.take(8)? != MAGIC {
        return None;
    }
    let (sum, version, generation) = (cursor.u32()?, cursor.u32()?, cursor.u64()?);
    let (size, device) = (cursor.u64()?, cursor.u64()?);
    let (owner, layout, id_bytes) = (cursor.u32()?, cursor.u32()?, cursor.u32()?);
    let (id, zeros) = cursor.take(MOST_ID_BYTES as u64)?.split_at_checked(id_bytes as usize)?;
    let key = Key { build_id: id.to_vec(), size, device, owner, layout };
    let (first_page, pages, present, rules) = (cursor.u64()?, cursor.u32()?, cursor.u32()?, cursor.u32()?);
    let sound = zeros.iter().all(|&byte| byte == 0)
        && (1..=MOST_PAGES).contains(&pages)
        && (1..=pages).contains(&present)
        && (1..=MAX_RULES as u32).contains(&rules);
    sound.then_some(Fixed { sum, version, generation, key, first_page, pages, present, rules })
}

/// Bytes up to the first row, as the first [`FIXED_BYTES`] tell them: some two million at the most.
pub(super) fn head_bytes(start: &[u8]) -> Result<u64, Damaged> {
    let Fixed { present, rules, .. } = fixed(start).ok_or(Damaged("header"))?;
    Ok(FIXED_BYTES as u64 + u64::from(present) * PAGE_ENTRY_BYTES + u64::from(rules) * RULE_BYTES)
}

/// Reads what comes before the rows of an entry of so many bytes.
pub(super) fn head(bytes: &[u8], file_bytes: u64, key: &Key) -> Result<Head, Damaged> {
    let fixed = fixed(bytes).ok_or(Damaged("header"))?;
    let summed = bytes.get(SUMMED_FROM..).ok_or(Damaged("header"))?;
    if sum(summed) != fixed.sum {
        return Err(Damaged("checksum"));
    }
    if fixed.version != VERSION || fixed.generation != GENERATION || fixed.key != *key {
        return Err(Damaged("key"));
    }
    let mut cursor = Cursor::new(bytes.get(FIXED_BYTES..).ok_or(Damaged("header"))?, 0);
    let mut at = bytes.len() as u64;
    let mut present: Vec<Present> = Vec::new();
    for _ in 0..fixed.present {
        let next = page_entry(&mut cursor, at).ok_or(Damaged("list of pages"))?;
        let rising = present.last().is_none_or(|last| last.page < next.page);
        if !rising || next.page >= fixed.pages || !(1..=PAGE_BYTES).contains(&next.rows.into()) {
            return Err(Damaged("list of pages"));
        }
        at += next.bytes() as u64;
        present.push(next);
    }
    let rules: Option<Vec<Rule>> = (0..fixed.rules).map(|_| rule(&mut cursor)).collect();
    let rules = rules.ok_or(Damaged("list of rules"))?;
    if at != file_bytes || !cursor.left().is_empty() {
        return Err(Damaged("length"));
    }
    Ok(Head { first_page: fixed.first_page, pages: fixed.pages, present, rules })
}

fn page_entry(cursor: &mut Cursor<'_>, at: u64) -> Option<Present> {
    Some(Present { page: cursor.u32()?, rows: cursor.u32()?, sum: cursor.u32()?, at })
}

/// Reads the rows of a page: offset and number in the list of `rules` rules.
pub(super) fn rows(bytes: &[u8], present: &Present, rules: usize) -> Result<Vec<(u16, u16)>, Damaged> {
    let (rows, rest) = bytes.as_chunks::<4>();
    if rows.len() != present.rows as usize || !rest.is_empty() || sum(bytes) != present.sum {
        return Err(Damaged("checksum of a page"));
    }
    let rows: Vec<(u16, u16)> = rows
        .iter()
        .map(|&[o0, o1, r0, r1]| (u16::from_le_bytes([o0, o1]), u16::from_le_bytes([r0, r1])))
        .collect();
    let from_zero = rows.first().is_some_and(|row| row.0 == 0);
    if !from_zero
        || !rows.is_sorted_by(|one, next| one.0 < next.0)
        || rows.iter().any(|row| usize::from(row.1) >= rules)
    {
        return Err(Damaged("order of rows"));
    }
    Ok(rows)
}

fn sum(bytes: &[u8]) -> u32 {
    let mut crc = Crc::new();
    crc.update(bytes);
    crc.sum()
}

fn rule(cursor: &mut Cursor<'_>) -> Option<Rule> {
    let rule = Rule {
        kind: cursor.u8()?,
        cfa_register: cursor.u8()?,
        fp: cursor.u8()?,
        fp_register: cursor.u8()?,
        ra: cursor.u8()?,
        ra_register: cursor.u8()?,
        cfa_add: cursor.u16()?.cast_signed(),
        cfa_offset: cursor.u32()?.cast_signed(),
        fp_offset: cursor.u32()?.cast_signed(),
    };
    let known = rule.kind <= kind::OTHER_STACK && rule.fp <= fp::UNDEFINED && rule.ra <= ra::IN_RECORD;
    let registers = [rule.cfa_register, rule.fp_register, rule.ra_register];
    (known && registers.iter().all(|&register| register < REGISTERS)).then_some(rule)
}

fn rule_bytes(rule: Rule) -> [u8; 16] {
    let Rule { kind, cfa_register, fp, fp_register, ra, ra_register, cfa_add, cfa_offset, fp_offset } = rule;
    let [a0, a1] = cfa_add.to_le_bytes();
    let ([c0, c1, c2, c3], [f0, f1, f2, f3]) = (cfa_offset.to_le_bytes(), fp_offset.to_le_bytes());
    [kind, cfa_register, fp, fp_register, ra, ra_register, a0, a1, c0, c1, c2, c3, f0, f1, f2, f3]
}

/// An entry that is put together. Its rules get numbers of their own, for those of a run mean nothing to the next.
#[derive(Debug, Default)]
pub(crate) struct Draft {
    /// Numbers here by those of the run.
    numbers: Vec<Option<u16>>,
    rules: Vec<u8>,
    pages: Vec<u8>,
    rows: Vec<u8>,
}

impl Draft {
    /// Adds a page behind the last one: its number from the object's first, and its rows with the run's numbers of rules,
    /// which `rule` gives. Where that would make the entry too large, the page is left out and `false` returned.
    pub(crate) fn page(
        &mut self,
        page: u32,
        rows: impl IntoIterator<Item = (u16, u16)>,
        rule: impl Fn(u16) -> Rule,
    ) -> bool {
        let start = self.rows.len();
        for (offset, in_run) in rows {
            let at = usize::from(in_run);
            if at >= self.numbers.len() {
                self.numbers.resize(at + 1, None);
            }
            let Some(number) = self.numbers.get_mut(at) else {
                continue;
            };
            let number = *number.get_or_insert_with(|| {
                // Below 65,536 as the run's are.
                let next = self.rules.len() / RULE_BYTES as usize;
                self.rules.extend(rule_bytes(rule(in_run)));
                next as u16
            });
            let ([o0, o1], [n0, n1]) = (offset.to_le_bytes(), number.to_le_bytes());
            self.rows.extend([o0, o1, n0, n1]);
        }
        let added = self.rows.get(start..).unwrap_or_default();
        let count = (added.len() / ROW_BYTES as usize) as u32;
        if count == 0 || self.rows.len() > MOST_BYTES {
            self.rows.truncate(start);
            return false;
        }
        for field in [page, count, sum(added)] {
            self.pages.extend(field.to_le_bytes());
        }
        true
    }

    /// The entry of an object with so many pages; `None` where there is nothing in it.
    pub(crate) fn finish(self, key: &Key, first_page: u64, pages: u32) -> Option<Vec<u8>> {
        let present = (self.pages.len() / PAGE_ENTRY_BYTES as usize) as u32;
        let rules = self.rules.len() / RULE_BYTES as usize;
        if present == 0 || rules > MAX_RULES {
            return None;
        }
        let Key { build_id, size, device, owner, layout } = key;
        let mut summed =
            Vec::with_capacity(FIXED_BYTES + self.pages.len() + self.rules.len() + self.rows.len());
        summed.extend(VERSION.to_le_bytes());
        summed.extend(GENERATION.to_le_bytes());
        summed.extend(size.to_le_bytes());
        summed.extend(device.to_le_bytes());
        for field in [*owner, *layout, build_id.len() as u32] {
            summed.extend(field.to_le_bytes());
        }
        let mut id = [0; MOST_ID_BYTES];
        id.get_mut(..build_id.len())?.copy_from_slice(build_id);
        summed.extend(id);
        summed.extend(first_page.to_le_bytes());
        for field in [pages, present, rules as u32] {
            summed.extend(field.to_le_bytes());
        }
        summed.extend(self.pages);
        summed.extend(self.rules);
        let mut bytes = MAGIC.to_vec();
        bytes.extend(sum(&summed).to_le_bytes());
        bytes.extend(summed);
        bytes.extend(self.rows);
        Some(bytes)
    }
}

#[cfg(test)]
mod tests;
