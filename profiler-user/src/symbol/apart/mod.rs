//! Reading in a process of its own, which can do nothing but that (docs/privilege.md).

mod server;
mod wire;

use std::{
    fs::File,
    os::{
        fd::{AsFd, BorrowedFd},
        unix::net::UnixStream,
    },
    time::Duration,
};

use prost::Message;

pub use server::serve;

use super::{
    Functions,
    reading::{Contents, Reading, Refusal},
};
use crate::{
    budget::Gauge,
    confine::apart,
    sys::{
        own::{self, Share},
        passing, priority,
    },
};
use wire::{Answer, Kind, MOST_BYTES, Question};

/// Bytes that a process is believed to use.
const MOST_MEMORY: u64 = 1 << 40;

/// Asks the process that reads.
#[derive(Debug)]
pub(super) struct Apart {
    /// How much memory reading may take.
    gauge: Gauge,
    /// `None` where none came after the last one.
    socket: Option<UnixStream>,
    /// What earlier processes used, and the keeper: the CPU time of the current one is counted from zero.
    before: Share,
}

impl Apart {
    /// Asks the process that there is; `None` where there is none, for nothing is confined.
    pub(super) fn new(gauge: Gauge) -> Option<Self> {
        let socket = apart::connect()?;
        let socket =
            socket.inspect_err(|error| tracing::error!("programs and libraries have no names: {error}")).ok();
        let keeper = apart::keeper_memory();
        let before = Share { heap: keeper.private, files: keeper.shared, ..own::share() };
        own::set_share(before);
        Some(Self { gauge, socket, before })
    }

    fn ask(&mut self, question: Question, file: Option<BorrowedFd<'_>>) -> Result<Answer, Refusal> {
        let Some(socket) = &self.socket else {
            return Err(Refusal::NobodyReads("it ended, and none came after it".to_owned()));
        };
        let question = Question { nice: priority::nice(), growth: self.gauge.growth(), ..question };
        if let Err(error) = passing::send(socket, &question.encode_to_vec(), file) {
            tracing::debug!("the process that reads does not listen: {error}");
            return Err(self.begin_anew().map_or_else(|refusal| refusal, |()| Refusal::Replaced));
        }
        let answer = passing::receive(socket, MOST_BYTES);
        match answer.ok().flatten().and_then(|(bytes, _)| Answer::decode(&*bytes).ok()) {
            Some(answer) => {
                self.count(&answer);
                answer.accepted()
            }
            // It ended, or it says what makes no sense.
            None => Err(self.begin_anew().map_or_else(|refusal| refusal, |()| Refusal::Ended)),
        }
    }

    /// Takes note of what the process uses.
    fn count(&self, answer: &Answer) {
        own::set_share(Share {
            cpu: self.before.cpu + Duration::from_nanos(answer.cpu_ns),
            // Numbers of a process that may be somebody else's by now.
            heap: self.before.heap + answer.heap.min(MOST_MEMORY),
            files: self.before.files + answer.files.min(MOST_MEMORY),
            lost_pages: self.before.lost_pages.saturating_add(answer.lost_pages),
            ends: self.before.ends,
        });
    }

    /// Asks the one that was started in place of the one that ended.
    fn begin_anew(&mut self) -> Result<(), Refusal> {
        let Share { cpu, lost_pages, ends, .. } = own::share();
        self.before = Share { cpu, lost_pages, ends: ends + 1, ..self.before };
        own::set_share(self.before);
        // Closed first: where it goes on, that ends it.
        self.socket = None;
        match apart::connect() {
            Some(Ok(socket)) => {
                self.socket = Some(socket);
                Ok(())
            }
            Some(Err(error)) => {
                tracing::error!("programs and libraries have no names from now on: {error}");
                Err(Refusal::NobodyReads(error.to_string()))
            }
            None => Err(Refusal::NobodyReads("there is none".to_owned())),
        }
    }

    fn tell(&mut self, kind: Kind, file: u64) -> Result<(), Refusal> {
        self.ask(Question { kind: kind.into(), file, ..Question::default() }, None).map(drop)
    }
}

/// What an answer of these bytes would be taken for, to a question about so many addresses; `None` for what is none. This is
/// for those who look for bytes that do harm.
#[must_use]
pub fn taken_for(bytes: &[u8], addresses: usize) -> Option<String> {
    let answer = Answer::decode(bytes).ok()?;
    let (contents, checksum) = (answer.clone().into_contents(), answer.clone().into_checksum());
    let names = answer.clone().into_go_names(addresses);
    Some(format!("{:?} {contents:?} {checksum:?} {names:?}", answer.accepted().is_ok()))
}

impl Drop for Apart {
    fn drop(&mut self) {
        own::set_share(Share { heap: 0, files: 0, ..own::share() });
    }
}

impl Reading for Apart {
    fn hold(&mut self, number: u64, file: &File) -> Result<Contents, Refusal> {
        let question = Question { kind: Kind::Hold.into(), file: number, ..Question::default() };
        Ok(self.ask(question, Some(file.as_fd()))?.into_contents())
    }

    fn names(&mut self, number: u64, lines: bool, addresses: &[u64]) -> Result<Vec<Functions>, Refusal> {
        let kind = Kind::Names.into();
        let question =
            Question { kind, file: number, lines, addresses: addresses.to_vec(), ..Question::default() };
        self.ask(question, None)?.into_names(addresses.len())
    }

    fn go_names(&mut self, number: u64, addresses: &[u64]) -> Result<Option<Vec<Functions>>, Refusal> {
        let kind = Kind::GoNames.into();
        let question = Question { kind, file: number, addresses: addresses.to_vec(), ..Question::default() };
        self.ask(question, None)?.into_go_names(addresses.len())
    }

    fn checksum(&mut self, file: &File) -> Result<Option<u32>, Refusal> {
        let question = Question { kind: Kind::Checksum.into(), ..Question::default() };
        Ok(self.ask(question, Some(file.as_fd()))?.into_checksum())
    }

    fn forget(&mut self, number: u64) -> Result<(), Refusal> {
        self.tell(Kind::Forget, number)
    }

    fn release_pages(&mut self) -> Result<(), Refusal> {
        self.tell(Kind::ReleasePages, 0)
    }

    fn trim(&mut self) -> Result<(), Refusal> {
        self.tell(Kind::Trim, 0)
    }
}
