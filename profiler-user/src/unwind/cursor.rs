//! Reading numbers from bytes. `None` means that the bytes ended or the number does not fit.

/// A place in bytes that have addresses.
#[derive(Clone, Debug)]
pub(super) struct Cursor<'data> {
    left: &'data [u8],
    address: u64,
}

impl<'data> Cursor<'data> {
    /// `address` is that of the first byte.
    pub(super) fn new(bytes: &'data [u8], address: u64) -> Self {
        Self { left: bytes, address }
    }

    /// Address of the next byte.
    pub(super) fn address(&self) -> u64 {
        self.address
    }

    pub(super) fn left(&self) -> &'data [u8] {
        self.left
    }

    /// The next `count` bytes.
    pub(super) fn take(&mut self, count: u64) -> Option<&'data [u8]> {
        let (taken, left) = self.left.split_at_checked(usize::try_from(count).ok()?)?;
        self.left = left;
        self.address = self.address.wrapping_add(count);
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N as u64)?.try_into().ok()
    }

    pub(super) fn u8(&mut self) -> Option<u8> {
        self.array().map(u8::from_le_bytes)
    }

    pub(super) fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_le_bytes)
    }

    pub(super) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    /// A number in as many bytes, with its sign.
    pub(super) fn signed(&mut self, bytes: u8) -> Option<i64> {
        match bytes {
            1 => self.array().map(|array| i8::from_le_bytes(array).into()),
            2 => self.array().map(|array| i16::from_le_bytes(array).into()),
            4 => self.array().map(|array| i32::from_le_bytes(array).into()),
            8 => self.array().map(i64::from_le_bytes),
            _ => None,
        }
    }

    /// An unsigned LEB128 number (DWARF 5, section 7.6).
    pub(super) fn uleb(&mut self) -> Option<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.u8()?;
            let bits = u64::from(byte & 0x7f);
            if bits << shift >> shift != bits {
                return None;
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    /// A signed LEB128 number.
    pub(super) fn sleb(&mut self) -> Option<i64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.u8()?;
            value |= i64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                let unused = 64_u32.saturating_sub(shift + 7);
                return Some(value << unused >> unused);
            }
        }
        None
    }

    /// Bytes up to a zero, which is skipped.
    pub(super) fn string(&mut self) -> Option<&'data [u8]> {
        let len = self.left.iter().position(|&byte| byte == 0)?;
        let string = self.take(len as u64)?;
        self.u8()?;
        Some(string)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cursor(bytes: &[u8]) -> Cursor<'_> {
        Cursor::new(bytes, 0x1000)
    }

    #[test]
    fn leb128_as_the_standard_shows() {
        // DWARF 5, tables 7.7 and 7.8.
        for (bytes, value) in
            [(&[2][..], 2), (&[127], 127), (&[0x80, 1], 128), (&[0x81, 1], 129), (&[0xb9, 0x64], 12857)]
        {
            assert_eq!(cursor(bytes).uleb(), Some(value));
        }
        for (bytes, value) in [
            (&[2][..], 2),
            (&[0x7e], -2),
            (&[0xff, 0], 127),
            (&[0x81, 0x7f], -127),
            (&[0x80, 1], 128),
            (&[0x80, 0x7f], -128),
            (&[0xff, 0x7e], -129),
        ] {
            assert_eq!(cursor(bytes).sleb(), Some(value));
        }
        assert_eq!(cursor(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1]).uleb(), Some(u64::MAX));
        assert_eq!(cursor(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2]).uleb(), None);
        assert_eq!(cursor(&[0x80; 11]).uleb(), None);
        assert_eq!(cursor(&[0x80; 11]).sleb(), None);
        assert_eq!(cursor(&[0x80; 3]).uleb(), None);
        assert_eq!(
            cursor(&[0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x7f]).sleb(),
            Some(i64::MIN)
        );
    }

    #[test]
    fn fixed_sizes_and_addresses() {
        let bytes = [1, 2, 0, 3, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0, b'z', b'R', 0, 0xfe, 0xff];
        let mut cursor = cursor(&bytes);
        assert_eq!(cursor.u8(), Some(1));
        assert_eq!(cursor.u16(), Some(2));
        assert_eq!(cursor.u32(), Some(3));
        assert_eq!(cursor.u64(), Some(4));
        assert_eq!(cursor.string(), Some(&b"zR"[..]));
        assert_eq!(cursor.address(), 0x1000 + 18);
        assert_eq!(cursor.clone().signed(1), Some(-2));
        assert_eq!(cursor.clone().signed(4), None);
        assert_eq!(cursor.signed(2), Some(-2));
        assert_eq!(cursor.u8(), None);
        assert!(cursor.left().is_empty());
    }
}
