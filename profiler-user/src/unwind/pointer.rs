//! Encoded pointers (Linux Standard Base Core 5.0, section 10.5.1).

use super::cursor::Cursor;

/// How a pointer is written: the format in the low four bits, what it is relative to above, and whether it leads to
/// the pointer proper in the highest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Encoding(pub(super) u8);

impl Encoding {
    /// DW_EH_PE_absptr.
    pub(super) const ABSOLUTE: Self = Self(0);
    /// DW_EH_PE_omit.
    pub(super) const OMIT: Self = Self(0xff);
    /// DW_EH_PE_sdata4, relative to the start of the section: the search table that linkers write.
    pub(super) const TABLE: Self = Self(0x3b);
    /// The same with DW_EH_PE_sdata8, for code beyond 2 GiB.
    pub(super) const WIDE_TABLE: Self = Self(0x3c);

    /// Reads a pointer. `data` is what DW_EH_PE_datarel is relative to, if that is known.
    pub(super) fn read(self, cursor: &mut Cursor<'_>, data: Option<u64>) -> Option<u64> {
        const ABSOLUTE: u8 = 0x00;
        const TO_ITSELF: u8 = 0x10;
        const TO_DATA: u8 = 0x30;
        // 0x20, 0x40 and 0x50 (relative to text, relative to the function, aligned) are not in use on x86_64; pointers
        // to pointers (0x80) would have to be looked up in a running process.
        let base = match self.0 & 0xf0 {
            ABSOLUTE => 0,
            TO_ITSELF => cursor.address(),
            TO_DATA => data?,
            _ => return None,
        };
        Some(base.wrapping_add(self.read_number(cursor)?))
    }

    /// Reads the number alone: of a length, or of a pointer that nobody follows.
    pub(super) fn read_number(self, cursor: &mut Cursor<'_>) -> Option<u64> {
        match self.0 & 0x0f {
            0x00 | 0x04 => cursor.u64(),
            0x01 => cursor.uleb(),
            0x02 => cursor.u16().map(u64::from),
            0x03 => cursor.u32().map(u64::from),
            0x08 | 0x0c => cursor.u64(),
            0x09 => cursor.sleb().map(i64::cast_unsigned),
            0x0a => cursor.signed(2).map(i64::cast_unsigned),
            0x0b => cursor.signed(4).map(i64::cast_unsigned),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_format_and_base() {
        let negative = [0xf0_u8; 8];
        for (encoding, bytes, value) in [
            (0x00, &[1, 2, 0, 0, 0, 0, 0, 0][..], Some(0x201)),
            (0x04, &[1, 2, 0, 0, 0, 0, 0, 0], Some(0x201)),
            (0x01, &[0x81, 1], Some(129)),
            (0x02, &[0xfe, 0xff], Some(0xfffe)),
            (0x03, &[0xfe, 0xff, 0xff, 0xff], Some(0xffff_fffe)),
            (0x08, &negative, Some(0xf0f0_f0f0_f0f0_f0f0)),
            (0x0c, &negative, Some(0xf0f0_f0f0_f0f0_f0f0)),
            (0x09, &[0x7e], Some(u64::MAX - 1)),
            (0x1a, &[0xfe, 0xff], Some(0xffe)),
            (0x1b, &[0xfc, 0xff, 0xff, 0xff], Some(0xffc)),
            (0x1b, &[4, 0, 0, 0], Some(0x1004)),
            (0x3b, &[4, 0, 0, 0], Some(0x2004)),
            (0x3c, &[4, 0, 0, 0, 0, 0, 0, 0], Some(0x2004)),
            (0x1b, &[4, 0, 0], None),
            (0x05, &negative, None),
            (0x2b, &negative, None),
            (0x4b, &negative, None),
            (0x50, &negative, None),
            (0x9b, &negative, None),
        ] {
            let mut cursor = Cursor::new(bytes, 0x1000);
            assert_eq!(Encoding(encoding).read(&mut cursor, Some(0x2000)), value, "{encoding:#x}");
            assert!(value.is_none() || cursor.left().is_empty());
        }
        assert_eq!(Encoding(0x3b).read(&mut Cursor::new(&[0; 4], 0), None), None);
    }
}
