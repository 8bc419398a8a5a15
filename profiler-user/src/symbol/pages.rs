//! The memory that reading names from a file takes: pages of the file itself, and debug information that is unpacked.

use std::{fs, fs::File};

use object::{
    Endianness, ReadCache,
    elf::{FileHeader64, SHF_COMPRESSED},
    read::elf::{CompressionHeader as _, FileHeader as _, SectionHeader as _},
};

/// Bytes that reading a file's debug information may take: all of compressed sections, for they are unpacked as a whole, and
/// half of the others, for hardly any recording comes through more of the code. 0 where there is none or the file is no ELF file,
/// and more than there can be where that cannot be told.
///
/// `None` of a file with a compressed section that has no debug information, or no name: that is unpacked unasked wherever a
/// symbol table is looked for, and its header may say that it has 256 TiB. No linker makes one.
pub(super) fn debug_bytes(file: &File) -> Option<u64> {
    let cache = ReadCache::new(file);
    let Ok(header) = FileHeader64::<Endianness>::parse(&cache) else { return Some(0) };
    let sections = header.endian().and_then(|endian| Ok((endian, header.sections(endian, &cache)?)));
    let Ok((endian, sections)) = sections else { return Some(u64::MAX) };
    let mut bytes = 0_u64;
    for section in sections.iter() {
        let is_compressed = section.sh_flags(endian).contains(SHF_COMPRESSED);
        // A damaged name does not hide the sections behind it.
        let name = sections.section_name(endian, section).unwrap_or_default();
        if !name.starts_with(b".debug_") {
            if is_compressed {
                return None;
            }
            continue;
        }
        bytes = bytes.saturating_add(match section.compression(endian, &cache) {
            Ok(Some((header, ..))) => header.ch_size(endian),
            Ok(None) => section.sh_size(endian) / 2,
            Err(_) => u64::MAX,
        });
    }
    Some(bytes)
}

/// Lets go of the pages of all files that are mapped to be read. They come again from the page cache, or the disk, when they
/// are looked at next.
pub(super) fn release() {
    let maps = fs::read_to_string("/proc/self/maps").unwrap_or_default();
    for (start, end) in maps.lines().filter_map(readable_file) {
        let Ok(length) = usize::try_from(end - start) else { continue };
        // SAFETY: the range was a shared, read-only mapping of a file a moment ago. Should it have been unmapped since and
        // another one be in its place: mappings of this kind are only made and unmapped by the symbolizer on this thread,
        // and no other kind can take the place while the symbolizer has it. Dropping such pages changes nothing that can
        // be read: the kernel fetches the same bytes from the file again (madvise(2)).
        unsafe { libc::madvise(start as *mut libc::c_void, length, libc::MADV_DONTNEED) };
    }
}

/// The range of a line of /proc/PID/maps that is a shared, read-only mapping of a file from its beginning. BPF maps and perf
/// rings, whose pages do not come again, have no path.
fn readable_file(line: &str) -> Option<(u64, u64)> {
    let mut fields = line.split_ascii_whitespace();
    let (start, end) = fields.next()?.split_once('-')?;
    let (permissions, offset) = (fields.next()?, fields.next()?);
    let path = fields.nth(2)?;
    if permissions != "r--s" || u64::from_str_radix(offset, 16) != Ok(0) || !path.starts_with('/') {
        return None;
    }
    Some((u64::from_str_radix(start, 16).ok()?, u64::from_str_radix(end, 16).ok()?))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn only_shared_mappings_of_files_that_are_read_are_released() {
        let line = |permissions: &str, path: &str| {
            format!("7f0000000000-7f0000200000 {permissions} 00000000 fe:00 131 {path}")
        };
        let range = Some((0x7f00_0000_0000, 0x7f00_0020_0000));
        assert_eq!(readable_file(&line("r--s", "/usr/lib/libLLVM.so")), range);
        assert_eq!(readable_file(&line("r--s", "/tmp/x (deleted)")), range);
        assert_eq!(readable_file(&line("r--p", "/usr/lib/libLLVM.so")), None);
        assert_eq!(readable_file(&line("rw-s", "/dev/shm/x")), None);
        assert_eq!(readable_file(&line("r--s", "anon_inode:bpf-map")), None);
        assert_eq!(readable_file("7f0000000000-7f0000200000 rw-p 00000000 00:00 0"), None);
        assert_eq!(readable_file(""), None);
    }

    #[test]
    fn debug_information_is_part_of_a_file_and_a_text_has_none() {
        let this = File::open("/proc/self/exe").unwrap();
        assert!(debug_bytes(&this).unwrap() < this.metadata().unwrap().len());
        assert_eq!(debug_bytes(&File::open("/proc/self/maps").unwrap()), Some(0));
    }

    /// A file with debug information, a part of which says that it is compressed, of 256 TiB, behind a section whose name is
    /// damaged.
    const UNPACKED: &[u8] = include_bytes!("../../../tests/fuzz/regressions/dwarf/unpacked-size");

    fn bytes_of(file: &[u8]) -> Option<u64> {
        let mut written = tempfile::tempfile().unwrap();
        written.write_all(file).unwrap();
        debug_bytes(&written)
    }

    #[test]
    fn what_is_unpacked_counts_with_what_it_says_behind_a_damaged_name_too() {
        assert!(bytes_of(UNPACKED).unwrap() > 1 << 40);
    }

    #[test]
    fn a_symbol_table_that_is_compressed_is_none() {
        let sections = usize::try_from(u64::from_le_bytes(UNPACKED[0x28..0x30].try_into().unwrap())).unwrap();
        // .symtab is the 21st section; its flags follow its name and its type.
        let flags = sections + 21 * 64 + 8;
        let mut file = UNPACKED.to_vec();
        file[flags..flags + 8].copy_from_slice(&SHF_COMPRESSED.0.to_le_bytes());
        assert_eq!(bytes_of(&file), None);
    }
}
