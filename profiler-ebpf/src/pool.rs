//! Finding what is known of an address: its mapping, its page of rows, its rule.

use profiler_common::{
    layout::CpuState,
    unwind::{
        Memory,
        pool::{DirectoryHeader, ELEMENT_BYTES, ELEMENT_UNITS, MappingEntry, PageEntry, UNIT_BYTES},
        rule::{PAGE_SHIFT, Row, Rule, find_row},
    },
};

use crate::{
    maps,
    memory::UserMemory,
    walk::{hide, reveal},
};

/// A pointer to a `T` in the pool, `bytes` behind the start of `unit`. `T`s lie at multiples of their size, which the mask
/// shows the verifier; a unit that user space never gave out leads to some other place in the pool, never out of it.
#[inline(always)]
fn pointer<T>(unit: u32, bytes: u64) -> Option<*mut T> {
    let element = maps::POOL.get_ptr_mut(unit / ELEMENT_UNITS)?;
    let offset = u64::from(unit % ELEMENT_UNITS) * UNIT_BYTES as u64 + bytes;
    let offset = offset & (ELEMENT_BYTES - size_of::<T>()) as u64;
    // SAFETY: the offset is a multiple of T's size, which is a power of two, below the size of the element.
    Some(unsafe { element.cast::<u8>().add(offset as usize).cast() })
}

#[inline(always)]
fn load<T: Copy>(unit: u32, bytes: u64) -> Option<T> {
    // SAFETY: the pointer is valid and aligned; the types that are read are numbers, for which all bits are values.
    pointer::<T>(unit, bytes).map(|pointer| unsafe { core::ptr::read(pointer) })
}

/// Makes the mapping that an address lies in the one at hand. `false` where no mapping is known there.
#[inline(always)]
pub fn find_mapping(state: &mut CpuState, pc: u64) -> bool {
    if pc >= reveal(&state.walk.start) && pc < reveal(&state.walk.end) {
        return true;
    }
    let unit = reveal(&state.walk.mappings) as u32;
    let mut base = 0;
    let mut count = reveal(&state.walk.mapping_count);
    // 2^15 mappings fill an element of the pool.
    for _ in 0..15 {
        if count <= 1 {
            break;
        }
        let half = count / 2;
        let Some(start) = load::<u64>(unit, (base + half) * size_of::<MappingEntry>() as u64) else {
            return false;
        };
        if start <= pc {
            base += half;
        }
        count -= half;
    }
    if count == 0 {
        return false;
    }
    let Some(entry) = load::<MappingEntry>(unit, base * size_of::<MappingEntry>() as u64) else {
        return false;
    };
    if pc < entry.start || pc >= entry.end {
        return false;
    }
    // Another library may have taken the place of the one that user space knows. A word that cannot be read says nothing.
    if entry.check_at != 0 && UserMemory.read_word(entry.check_at).is_some_and(|word| word != entry.check) {
        return false;
    }
    hide(&mut state.walk.start, entry.start);
    hide(&mut state.walk.end, entry.end);
    hide(&mut state.walk.delta, entry.delta);
    hide(&mut state.walk.directory, u64::from(entry.how) << 32 | u64::from(entry.directory));
    true
}

/// What is known of an address in a mapping with rows.
pub enum Found<'a> {
    /// Its rule.
    Rule(&'a Rule),
    /// Its page is not loaded. Whether that is to be said: once a window for each page.
    NotLoaded(Option<u32>),
    /// It lies outside of the object's code.
    Nothing,
}

/// The rule for an object's own address.
#[inline(always)]
pub fn find_rule(directory: u32, address: u64, epoch: u64) -> Found<'static> {
    let Some(header) = load::<DirectoryHeader>(directory, 0) else {
        return Found::Nothing;
    };
    let page = (address >> PAGE_SHIFT).wrapping_sub(header.first_page);
    if page >= header.pages {
        return Found::Nothing;
    }
    let Some(entry) = pointer::<PageEntry>(directory, (page + 1) * size_of::<PageEntry>() as u64) else {
        return Found::Nothing;
    };
    // SAFETY: the pointer is valid and aligned; the word is written whole.
    let place = unsafe { core::ptr::read_volatile(&raw const (*entry).place) };
    let Some((rows, count)) = PageEntry::unpack(place) else {
        let stamp = epoch as u32 + 1;
        // SAFETY: as above. Of two CPUs that are here at once both may ask: user space does not mind.
        let asked = unsafe { core::ptr::read_volatile(&raw const (*entry).asked) };
        if asked == stamp {
            return Found::NotLoaded(None);
        }
        // SAFETY: as above.
        unsafe { core::ptr::write_volatile(&raw mut (*entry).asked, stamp) };
        return Found::NotLoaded(Some(page as u32));
    };
    // SAFETY: as above. Written once a window, so that CPUs do not take the cache line from each other.
    let used = unsafe { core::ptr::read_volatile(&raw const (*entry).used) };
    if used != epoch as u32 {
        // SAFETY: as above.
        unsafe { core::ptr::write_volatile(&raw mut (*entry).used, epoch as u32) };
    }
    match find_rule_of_row(rows, u64::from(count), address & ((1 << PAGE_SHIFT) - 1)) {
        Some(rule) => Found::Rule(rule),
        None => Found::Nothing,
    }
}

/// The rule of the last row that does not lie behind `offset`.
#[inline(always)]
fn find_rule_of_row(rows: u32, count: u64, offset: u64) -> Option<&'static Rule> {
    let row = find_row(count, offset, |index| load::<Row>(rows, index * size_of::<Row>() as u64))?;
    let rules = maps::RULES.get(0)?;
    Some(&rules[usize::from(row.rule) & (rules.len() - 1)])
}
