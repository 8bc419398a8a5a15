//! The search table in .eh_frame_hdr (Linux Standard Base Core 5.0, section 10.6.2).

use std::ops::Range;

use super::{Result, bytes::Bytes, cursor::Cursor, pointer::Encoding};

/// Frame descriptions that are looked at in one go. Code of one page has fewer: each covers a byte at least.
const MOST_ENTRIES: u64 = 1 << 16;
/// Entries before the window that are looked at: some linkers leave empty functions in the table, and the one that
/// reaches into the window may lie before them.
const ENTRIES_BEFORE: u64 = 8;

/// What the header says.
#[derive(Debug)]
pub(super) struct Header {
    /// Address of .eh_frame.
    pub(super) eh_frame: u64,
    /// The search table, if it is of a kind that can be searched.
    pub(super) table: Option<SearchTable>,
}

/// Starts of functions in rising order, with the addresses of their frame descriptions.
#[derive(Debug)]
pub(super) struct SearchTable {
    bytes: Bytes,
    /// Address of the header, which the entries are relative to.
    address: u64,
    /// Place of the first entry.
    first: u64,
    count: u64,
    encoding: Encoding,
    /// Bytes that an entry takes.
    entry: usize,
}

impl Header {
    /// Reads a header at an address; `None` where it is of an unknown kind.
    pub(super) fn read(mut bytes: Bytes, address: u64) -> Result<Option<Self>> {
        bytes.allow(1 << 16);
        let parsed = parse(bytes.read_up_to(0, 64)?, address);
        bytes.release();
        let Some((eh_frame, encoding, count, first)) = parsed else {
            return Ok(None);
        };
        let entry = match encoding {
            Encoding::TABLE => 8,
            Encoding::WIDE_TABLE => 16,
            _ => return Ok(Some(Self { eh_frame, table: None })),
        };
        let fits = count <= bytes.len().saturating_sub(first) / entry;
        let table = (fits && count > 0).then_some(SearchTable {
            bytes,
            address,
            first,
            count,
            encoding,
            entry: if entry == 8 { 8 } else { 16 },
        });
        Ok(Some(Self { eh_frame, table }))
    }
}

/// Address of .eh_frame, encoding of the table, number of its entries, place of the first.
fn parse(bytes: &[u8], address: u64) -> Option<(u64, Encoding, u64, u64)> {
    let mut cursor = Cursor::new(bytes, address);
    if cursor.u8()? != 1 {
        return None;
    }
    let [eh_frame, count, table] = [cursor.u8()?, cursor.u8()?, cursor.u8()?].map(Encoding);
    let eh_frame = eh_frame.read(&mut cursor, Some(address))?;
    if count == Encoding::OMIT || table == Encoding::OMIT {
        return Some((eh_frame, Encoding::OMIT, 0, 0));
    }
    let count = count.read(&mut cursor, Some(address))?;
    Some((eh_frame, table, count, cursor.address().wrapping_sub(address)))
}

impl SearchTable {
    /// Starts and addresses of the frame descriptions that may reach into a window of code, in rising order.
    pub(super) fn find(&mut self, window: &Range<u64>) -> Result<Vec<(u64, u64)>> {
        self.bytes.allow(8 << 20);
        // The first entry that starts after the window's first byte.
        let (mut low, mut high) = (0, self.count);
        while low < high {
            let middle = low + (high - low) / 2;
            if self.entry(middle)?.0 <= window.start {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        let mut found = Vec::new();
        let first = low.saturating_sub(ENTRIES_BEFORE);
        for index in first..self.count.min(first + MOST_ENTRIES) {
            let (start, at) = self.entry(index)?;
            if start >= window.end {
                break;
            }
            found.push((start, at));
        }
        self.bytes.release();
        Ok(found)
    }

    fn entry(&mut self, index: u64) -> Result<(u64, u64)> {
        let at = self.first + index * self.entry as u64;
        let bytes = self.bytes.read(at, self.entry)?;
        let mut cursor = Cursor::new(bytes, 0);
        let mut next = || self.encoding.read(&mut cursor, Some(self.address)).unwrap_or(u64::MAX);
        Ok((next(), next()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(starts: &[i32]) -> Vec<u8> {
        let mut bytes = vec![1, 0x1b, 3, 0x3b, 0xfc, 0x0f, 0, 0];
        bytes.extend((starts.len() as u32).to_le_bytes());
        for (index, start) in starts.iter().enumerate() {
            bytes.extend(start.to_le_bytes());
            bytes.extend((0x2000 + index as i32).to_le_bytes());
        }
        bytes
    }

    #[test]
    fn finds_what_may_reach_into_a_window() {
        let starts: Vec<i32> = (0..1000).map(|index| index * 16 - 0x8000).collect();
        let header = Header::read(Bytes::in_memory(table(&starts)), 0x1_0000).unwrap().unwrap();
        assert_eq!(header.eh_frame, 0x1_0004 + 0xffc);
        let mut table = header.table.unwrap();
        let found = table.find(&(0x8105..0x8125)).unwrap();
        let expected: Vec<_> = (9..=18).map(|index| (0x8000 + 16 * index, 0x1_2000 + index)).collect();
        assert_eq!(found, expected);
        assert_eq!(table.find(&(0..0x8000)).unwrap(), []);
        assert_eq!(table.find(&(0..0x8001)).unwrap(), [(0x8000, 0x1_2000)]);
        assert_eq!(table.find(&(u64::MAX - 1..u64::MAX)).unwrap().len(), 8);
    }

    #[test]
    fn tables_that_cannot_be_searched() {
        let read = |bytes: Vec<u8>| Header::read(Bytes::in_memory(bytes), 0x1_0000).unwrap();
        // No table, another encoding, more entries than bytes, another version, cut short.
        assert!(read(vec![1, 0x1b, 0xff, 0xff, 0, 0, 0, 0]).unwrap().table.is_none());
        let mut bytes = table(&[0, 1]);
        bytes[3] = 0x1b;
        assert!(read(bytes).unwrap().table.is_none());
        let mut bytes = table(&[0, 1]);
        bytes[8..12].copy_from_slice(&u32::MAX.to_le_bytes());
        assert!(read(bytes).unwrap().table.is_none());
        let mut bytes = table(&[0, 1]);
        bytes[0] = 2;
        assert!(read(bytes).is_none());
        assert!(read(table(&[])[..7].to_vec()).is_none());
    }

    #[test]
    fn wide_entries() {
        let mut bytes = vec![1, 0x1b, 3, 0x3c, 0, 0, 0, 0, 1, 0, 0, 0];
        bytes.extend((1_i64 << 33).to_le_bytes());
        bytes.extend((-16_i64).to_le_bytes());
        let mut table = Header::read(Bytes::in_memory(bytes), 0x1000).unwrap().unwrap().table.unwrap();
        assert_eq!(table.find(&(0..u64::MAX)).unwrap(), [(0x1000 + (1 << 33), 0xff0)]);
    }
}
