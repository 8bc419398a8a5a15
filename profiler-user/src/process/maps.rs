//! One line of /proc/PID/maps (proc_pid_maps(5)).

/// What a line says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MapsLine<'a> {
    /// First address.
    pub start: u64,
    /// First address behind.
    pub end: u64,
    /// Whether code may run there.
    pub executable: bool,
    /// Offset in the file, bytes.
    pub offset: u64,
    /// Major and minor number of the file's device.
    pub device: (u32, u32),
    /// The file's inode; 0 where there is no file.
    pub inode: u64,
    /// Path, name in brackets, or nothing. Newlines in it are written as `\012`, and a deleted file's has a suffix.
    pub path: &'a [u8],
}

impl<'a> MapsLine<'a> {
    /// The path without the mark of a deleted file.
    #[must_use]
    pub fn clean_path(&self) -> &'a [u8] {
        without_deleted(self.path)
    }
}

/// A path without the mark of a deleted file.
pub(super) fn without_deleted(path: &[u8]) -> &[u8] {
    path.strip_suffix(b" (deleted)").unwrap_or(path)
}

/// Parses a line without its newline; `None` for what is no such line.
#[must_use]
pub fn parse_line(line: &[u8]) -> Option<MapsLine<'_>> {
    let mut rest = line;
    let range = field(&mut rest)?;
    let permissions = field(&mut rest)?;
    let offset = field(&mut rest)?;
    let device = field(&mut rest)?;
    let inode = field(&mut rest)?;
    let dash = range.iter().position(|&byte| byte == b'-')?;
    let colon = device.iter().position(|&byte| byte == b':')?;
    let narrow = |number: u64| u32::try_from(number).ok();
    Some(MapsLine {
        start: hex(&range[..dash])?,
        end: hex(&range[dash + 1..])?,
        executable: permissions.get(2) == Some(&b'x'),
        offset: hex(offset)?,
        device: (narrow(hex(&device[..colon])?)?, narrow(hex(&device[colon + 1..])?)?),
        inode: std::str::from_utf8(inode).ok()?.parse().ok()?,
        path: rest.trim_ascii_start(),
    })
}

/// Takes the next field off the front.
fn field<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let line = rest.trim_ascii_start();
    let end = line.iter().position(|&byte| byte == b' ').unwrap_or(line.len());
    let (field, tail) = line.split_at(end);
    *rest = tail;
    (!field.is_empty()).then_some(field)
}

fn hex(digits: &[u8]) -> Option<u64> {
    u64::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_file_an_anonymous_area_and_a_name() {
        let line = parse_line(b"7f00-8000 r-xp 00001000 fd:01 42                 /usr/lib/a b.so (deleted)")
            .unwrap();
        assert_eq!((line.start, line.end, line.offset, line.inode), (0x7f00, 0x8000, 0x1000, 42));
        assert_eq!(line.device, (0xfd, 1));
        assert!(line.executable);
        assert_eq!(line.clean_path(), b"/usr/lib/a b.so");
        let anonymous = parse_line(b"1000-2000 rw-p 00000000 00:00 0 ").unwrap();
        assert!(!anonymous.executable && anonymous.path.is_empty());
        assert_eq!(parse_line(b"1000-2000 r-xp 0 00:00 0    [vdso]").unwrap().path, b"[vdso]");
    }

    #[test]
    fn a_torn_line_is_none() {
        assert_eq!(parse_line(b""), None);
        assert_eq!(parse_line(b"1000-2000 r-xp 0 00:00"), None);
        assert_eq!(parse_line(b"1000 r-xp 0 00:00 0"), None);
        assert_eq!(parse_line(b"zzzz-2000 r-xp 0 00:00 0"), None);
    }

    proptest! {
        #[test]
        fn no_line_is_too_odd(line: Vec<u8>) {
            let _ = parse_line(&line);
        }
    }
}
