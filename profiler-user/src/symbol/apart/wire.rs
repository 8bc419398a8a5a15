//! What the two processes say to each other: one question, one answer, each a length and a message of protocol buffers
//! ([`passing`](crate::sys::passing)).
//!
//! The answers come from a process that may have been taken over by a file that it read. So they are as bounded as what comes
//! from a network: [`MOST_BYTES`], and nothing in them is trusted to be as long as it says.

use prost::Message;

use crate::symbol::{
    Function, Functions,
    reading::{Contents, Link, Refusal},
};

/// Bytes of a question or an answer at the most. Sixteen addresses in names as long as compilers make them take some ten thousand.
pub(super) const MOST_BYTES: usize = 16 << 20;

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub(super) enum Kind {
    Nothing = 0,
    /// Takes the file that comes with it.
    Hold = 1,
    Names = 2,
    GoNames = 3,
    /// Of the file that comes with it.
    Checksum = 4,
    Forget = 5,
    ReleasePages = 6,
    Trim = 7,
}

/// A question.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Question {
    #[prost(enumeration = "Kind", tag = "1")]
    pub(super) kind: i32,
    /// Number of the file.
    #[prost(uint64, tag = "2")]
    pub(super) file: u64,
    #[prost(bool, tag = "3")]
    pub(super) lines: bool,
    #[prost(uint64, repeated, tag = "4")]
    pub(super) addresses: Vec<u64>,
    /// The nice value of who asks: who answers is as urgent.
    #[prost(sint32, tag = "5")]
    pub(super) nice: i32,
    /// Bytes of memory that answering may take.
    #[prost(uint64, tag = "6")]
    pub(super) growth: u64,
}

/// What one address is in, innermost inlined function first.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Place {
    #[prost(message, repeated, tag = "1")]
    functions: Vec<NamedFunction>,
}

#[derive(Clone, PartialEq, Message)]
struct NamedFunction {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    file: String,
    #[prost(uint32, tag = "3")]
    line: u32,
}

/// How a question was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
enum Outcome {
    Answered = 0,
    Passing = 1,
    Lasting = 2,
    Broken = 3,
    NoMemory = 4,
}

/// An answer, with what the process that gives it uses.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Answer {
    #[prost(enumeration = "Outcome", tag = "1")]
    outcome: i32,
    /// Why there is none.
    #[prost(string, tag = "2")]
    problem: String,
    /// For [`Kind::Names`] and [`Kind::GoNames`], one for each address.
    #[prost(message, repeated, tag = "3")]
    places: Vec<Place>,
    /// For [`Kind::GoNames`]: there is no such table.
    #[prost(bool, tag = "4")]
    no_table: bool,
    /// For [`Kind::Hold`].
    #[prost(bool, tag = "5")]
    link_is_unclear: bool,
    #[prost(string, optional, tag = "6")]
    link: Option<String>,
    #[prost(uint64, tag = "7")]
    debug_bytes: u64,
    /// For [`Kind::Hold`], of what the link means; for [`Kind::Checksum`], of the file.
    #[prost(uint32, optional, tag = "8")]
    checksum: Option<u32>,
    /// CPU time of the process so far, nanoseconds.
    #[prost(uint64, tag = "9")]
    pub(super) cpu_ns: u64,
    /// Memory of its own, bytes.
    #[prost(uint64, tag = "10")]
    pub(super) heap: u64,
    /// Pages of files that it has, bytes.
    #[prost(uint64, tag = "11")]
    pub(super) files: u64,
    /// Pages of files that were gone when they were read, so far.
    #[prost(uint64, tag = "12")]
    pub(super) lost_pages: u64,
}

impl Answer {
    pub(super) fn refused(refusal: &Refusal) -> Self {
        let outcome = match refusal {
            Refusal::Passing(_) => Outcome::Passing,
            Refusal::Broken => Outcome::Broken,
            Refusal::NoMemory => Outcome::NoMemory,
            // The others are not said by the one that reads.
            Refusal::Lasting(_) | Refusal::Ended | Refusal::Replaced | Refusal::NobodyReads(_) => {
                Outcome::Lasting
            }
        };
        Self { outcome: outcome.into(), problem: refusal.to_string(), ..Self::default() }
    }

    pub(super) fn of_contents(contents: Contents) -> Self {
        let mut answer = Self { debug_bytes: contents.debug_bytes, ..Self::default() };
        match contents.link {
            Link::None => {}
            Link::Unclear => answer.link_is_unclear = true,
            Link::To { name, checksum } => (answer.link, answer.checksum) = (Some(name), Some(checksum)),
        }
        answer
    }

    pub(super) fn of_names(named: &[Functions]) -> Self {
        let function = |function: &Function| NamedFunction {
            name: function.name.clone(),
            file: function.file.clone(),
            line: function.line,
        };
        let place = |functions: &Functions| Place { functions: functions.iter().map(function).collect() };
        Self { places: named.iter().map(place).collect(), ..Self::default() }
    }

    pub(super) fn no_go_table() -> Self {
        Self { no_table: true, ..Self::default() }
    }

    pub(super) fn of_checksum(checksum: Option<u32>) -> Self {
        Self { checksum, ..Self::default() }
    }

    /// Itself, if it is one.
    pub(super) fn accepted(self) -> Result<Self, Refusal> {
        match self.outcome() {
            Outcome::Answered => Ok(self),
            Outcome::Passing => Err(Refusal::Passing(self.problem)),
            Outcome::Lasting => Err(Refusal::Lasting(self.problem)),
            Outcome::Broken => Err(Refusal::Broken),
            Outcome::NoMemory => Err(Refusal::NoMemory),
        }
    }

    pub(super) fn into_contents(self) -> Contents {
        let link = match (self.link_is_unclear, self.link, self.checksum) {
            (false, Some(name), Some(checksum)) => Link::To { name, checksum },
            (false, None, None) => Link::None,
            _ => Link::Unclear,
        };
        Contents { link, debug_bytes: self.debug_bytes }
    }

    /// Names for so many addresses.
    pub(super) fn into_names(self, addresses: usize) -> Result<Vec<Functions>, Refusal> {
        if self.places.len() != addresses {
            return Err(Refusal::Lasting("the answer is to another question".to_owned()));
        }
        let functions = |place: Place| {
            let function = |NamedFunction { name, file, line }| Function { name, file, line };
            place.functions.into_iter().map(function).collect()
        };
        Ok(self.places.into_iter().map(functions).collect())
    }

    pub(super) fn into_go_names(self, addresses: usize) -> Result<Option<Vec<Functions>>, Refusal> {
        if self.no_table { Ok(None) } else { self.into_names(addresses).map(Some) }
    }

    pub(super) fn into_checksum(self) -> Option<u32> {
        self.checksum
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn sent(answer: &Answer) -> Answer {
        Answer::decode(&*answer.encode_to_vec()).unwrap()
    }

    #[test]
    fn answers_arrive_as_they_were_given() {
        for link in [
            Link::None,
            Link::Unclear,
            Link::To { name: "x.debug".to_owned(), checksum: 0 },
            Link::To { name: String::new(), checksum: 7 },
        ] {
            let contents = Contents { link, debug_bytes: 1 << 40 };
            assert_eq!(sent(&Answer::of_contents(contents.clone())).into_contents(), contents);
        }
        let function = |name: &str, line| Function { name: name.to_owned(), file: "a.c".to_owned(), line };
        let named: Vec<Functions> = vec![Arc::new([function("f", 1), function("g", 0)]), Arc::new([])];
        let answer = sent(&Answer::of_names(&named));
        assert_eq!(answer.clone().into_names(2).unwrap(), named);
        assert_eq!(answer.clone().into_go_names(2).unwrap(), Some(named));
        assert!(answer.into_names(1).is_err());
        assert_eq!(sent(&Answer::no_go_table()).into_go_names(3).unwrap(), None);
        assert_eq!(sent(&Answer::of_checksum(Some(0))).into_checksum(), Some(0));
        assert_eq!(sent(&Answer::of_checksum(None)).into_checksum(), None);
    }

    #[test]
    fn refusals_stay_what_they_are() {
        let [passing, lasting] = [Refusal::Passing("p".to_owned()), Refusal::Lasting("l".to_owned())];
        for refusal in [passing, lasting, Refusal::Broken, Refusal::NoMemory] {
            assert_eq!(sent(&Answer::refused(&refusal)).accepted(), Err(refusal));
        }
        assert!(sent(&Answer::default()).accepted().is_ok());
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200)) {
            if let Ok(answer) = Answer::decode(&*bytes) {
                let _ = answer.clone().accepted();
                let _ = answer.clone().into_contents();
                let _ = answer.clone().into_go_names(1);
                let _ = answer.into_checksum();
            }
        }
    }
}
