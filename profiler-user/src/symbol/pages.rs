//! The memory that reading names from a file takes: pages of the file itself, and debug information that is unpacked.

use std::{fs, fs::File};

use object::{
    Endianness, ReadCache,
    elf::FileHeader64,
    read::elf::{CompressionHeader as _, FileHeader as _, SectionHeader as _},
};

/// Bytes that reading a file's debug information may take: all of compressed sections, for they are unpacked as a whole, and
/// half of the others, for hardly any recording comes through more of the code. 0 where there is none, or the file cannot be
/// read.
pub(super) fn debug_bytes(file: &File) -> u64 {
    let cache = ReadCache::new(file);
    let count = || -> object::read::Result<u64> {
        let header = FileHeader64::<Endianness>::parse(&cache)?;
        let endian = header.endian()?;
        let sections = header.sections(endian, &cache)?;
        let mut bytes = 0_u64;
        for section in sections.iter() {
            if !sections.section_name(endian, section)?.starts_with(b".debug_") {
                continue;
            }
            bytes = bytes.saturating_add(match section.compression(endian, &cache)? {
                Some((header, ..)) => header.ch_size(endian),
                None => section.sh_size(endian) / 2,
            });
        }
        Ok(bytes)
    };
    count().unwrap_or(0)
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
        assert!(debug_bytes(&this) < this.metadata().unwrap().len());
        assert_eq!(debug_bytes(&File::open("/proc/self/maps").unwrap()), 0);
    }
}
