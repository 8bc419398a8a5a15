//! The kernel's symbol table, /proc/kallsyms, kept in a few bytes a symbol.
//!
//! blazesym keeps a string of its own for each of the 120,000 to 200,000 symbols, 11 MiB and more, which is a quarter of
//! the smallest budget. Here they are one text and two arrays.

use std::{
    io::{self, BufRead, BufReader},
    path::Path,
};

use crate::confine::threads;

/// Most symbols that are kept; kernels have some 200,000 with all modules.
const MOST: usize = 1 << 20;
/// Longest name that counts (KSYM_NAME_LEN, include/linux/kallsyms.h).
const LONGEST_NAME: usize = 512;

/// Functions of the kernel, its modules and BPF programs.
#[derive(Debug, Default)]
pub(super) struct Kallsyms {
    /// First addresses, rising.
    addresses: Vec<u64>,
    /// Where each one's name begins in `names`; its length lies in front of it.
    places: Vec<u32>,
    names: Vec<u8>,
}

impl Kallsyms {
    /// Reads the table; an empty one where addresses are hidden.
    ///
    /// # Errors
    /// Those of reading the file.
    pub(super) fn read(path: &Path) -> io::Result<Self> {
        Self::parse(BufReader::with_capacity(64 << 10, threads::open(path)?))
    }

    fn parse(mut text: impl BufRead) -> io::Result<Self> {
        let mut symbols: Vec<(u64, u32)> = Vec::new();
        let mut names = Vec::new();
        let mut line = Vec::new();
        loop {
            line.clear();
            if text.read_until(b'\n', &mut line)? == 0 || symbols.len() >= MOST {
                break;
            }
            let Some(symbol) = Symbol::parse(&line) else { continue };
            let Ok(place) = u32::try_from(names.len()) else { break };
            symbols.push((symbol.address, place));
            let length = u16::try_from(symbol.name.len()).unwrap_or(0);
            names.extend_from_slice(&length.to_ne_bytes());
            names.push(symbol.rank);
            names.extend_from_slice(symbol.name);
        }
        // Of several names for one address the best goes last, where it is found.
        symbols.sort_by_key(|&(address, place)| (address, std::cmp::Reverse((rank(&names, place), place))));
        names.shrink_to_fit();
        Ok(Self {
            addresses: symbols.iter().map(|symbol| symbol.0).collect(),
            places: symbols.iter().map(|symbol| symbol.1).collect(),
            names,
        })
    }

    /// Bytes that it takes.
    pub(super) fn bytes(&self) -> usize {
        size_of::<u64>() * self.addresses.capacity()
            + size_of::<u32>() * self.places.capacity()
            + self.names.capacity()
    }

    /// The function that an address lies in: the last one that begins at or before it.
    pub(super) fn find(&self, address: u64) -> Option<&str> {
        self.name(self.addresses.partition_point(|&first| first <= address).checked_sub(1)?)
    }

    fn name(&self, index: usize) -> Option<&str> {
        let place = *self.places.get(index)? as usize;
        let length = usize::from(u16::from_ne_bytes(self.names.get(place..place + 2)?.try_into().ok()?));
        std::str::from_utf8(self.names.get(place + 3..place + 3 + length)?).ok()
    }

    /// Where a symbol begins.
    pub(super) fn address_of(&self, name: &str) -> Option<u64> {
        let index = (0..self.addresses.len()).find(|&index| self.name(index) == Some(name))?;
        self.addresses.get(index).copied()
    }
}

fn rank(names: &[u8], place: u32) -> u8 {
    names.get(place as usize + 2).copied().unwrap_or(u8::MAX)
}

/// A line: `address type name`, with `\t[module]` behind it.
struct Symbol<'a> {
    address: u64,
    name: &'a [u8],
    /// How little one would call the function by this name: local ones and those with leading underscores come behind.
    rank: u8,
}

impl<'a> Symbol<'a> {
    fn parse(line: &'a [u8]) -> Option<Self> {
        let mut fields = line.split(u8::is_ascii_whitespace).filter(|field| !field.is_empty());
        let address = u64::from_str_radix(std::str::from_utf8(fields.next()?).ok()?, 16).ok()?;
        let (&[kind], name) = (fields.next()?, fields.next()?) else {
            return None;
        };
        // Text, local or global, weak or not (nm(1)). Hidden addresses are all zero.
        if !matches!(kind, b't' | b'T' | b'w' | b'W') || address == 0 || name.len() > LONGEST_NAME {
            return None;
        }
        let underscores = name.iter().take(7).take_while(|&&byte| byte == b'_').count() as u8;
        Some(Self { address, name, rank: underscores + if kind == b'T' { 0 } else { 8 } })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(text: &str) -> Kallsyms {
        Kallsyms::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn the_symbol_in_front_of_an_address_names_it() {
        let table = parse(
            "ffffffff81000100 T vfs_read\n\
             ffffffff81000000 T _stext\n\
             ffffffff81000200 D some_data\n\
             ffffffffc0000000 t nft_do_chain\t[nf_tables]\n\
             ffffffffc0001000 t bpf_prog_6deef7357e7b4530_on_tick\t[bpf]\n",
        );
        assert_eq!(table.find(0xffff_ffff_8100_00ff), Some("_stext"));
        assert_eq!(table.find(0xffff_ffff_8100_0100), Some("vfs_read"));
        assert_eq!(table.find(0xffff_ffff_8100_0200), Some("vfs_read"), "data is no function");
        assert_eq!(table.find(0xffff_ffff_c000_0008), Some("nft_do_chain"));
        assert_eq!(table.find(u64::MAX), Some("bpf_prog_6deef7357e7b4530_on_tick"));
        assert_eq!(table.find(0xffff_ffff_8000_0000), None);
        assert_eq!(table.address_of("vfs_read"), Some(0xffff_ffff_8100_0100));
    }

    #[test]
    fn of_several_names_the_one_that_people_call_it_by_is_taken() {
        let names = ["t __local", "T ___old", "T __x64_sys_read", "t local", "W weak"];
        for turn in 0..names.len() {
            let mut names = names;
            names.rotate_left(turn);
            let text: String = names.iter().map(|name| format!("ffffffff81000000 {name}\n")).collect();
            let table = parse(&text);
            assert_eq!(table.find(0xffff_ffff_8100_0000), Some("__x64_sys_read"));
            assert_eq!(table.address_of("weak"), Some(0xffff_ffff_8100_0000));
        }
    }

    #[test]
    fn hidden_addresses_name_nothing() {
        assert_eq!(parse("0000000000000000 T _stext\n0000000000000000 T vfs_read\n").find(u64::MAX), None);
        assert_eq!(parse("").find(1), None);
    }

    proptest! {
        #[test]
        fn any_text_is_read(text in "([0-9a-f]{0,17} [tTdD]{0,2} [a-z_\\[\\]]{0,9}\\s?){0,20}", address: u64) {
            let table = parse(&text);
            prop_assert!(table.addresses.is_sorted());
            let _ = table.find(address);
        }
    }
}
