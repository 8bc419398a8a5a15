//! Names of addresses that somebody asks for, outside of any window.
//!
//! They take the way that a window's addresses take: the collecting stage knows what the process has mapped, the naming stage has the
//! files, what is read of them, the cache and the budget.

use std::{collections::HashMap, sync::Arc};

use tokio::sync::{
    mpsc::{self, error::TrySendError},
    oneshot,
};

use super::name::own_address;
use crate::{
    process::{Object, Process},
    symbol::{Functions, Namer},
};

/// Questions that wait at the most.
pub(super) const MOST: usize = 16;

/// A question on its way to the collecting stage.
#[derive(Debug)]
pub struct Question {
    /// The process that the addresses are in; `None` for the kernel's.
    pub(super) pid: Option<u32>,
    pub(super) addresses: Vec<u64>,
    answer: oneshot::Sender<Vec<Option<String>>>,
}

impl Question {
    /// The question as the naming stage takes it.
    pub(super) fn about(self, process: Option<Arc<Process>>) -> Unnamed {
        Unnamed { process, addresses: self.addresses, answer: self.answer }
    }
}

/// Addresses that somebody wants named.
#[derive(Debug)]
pub struct Unnamed {
    process: Option<Arc<Process>>,
    addresses: Vec<u64>,
    answer: oneshot::Sender<Vec<Option<String>>>,
}

impl Unnamed {
    /// Names them.
    pub(super) fn name(self, namer: &mut Namer) {
        let Self { process, addresses, answer } = self;
        if answer.is_closed() {
            return;
        }
        let named = match process {
            Some(process) => in_process(&process, &addresses, namer),
            None => in_kernel(addresses, namer),
        };
        // Who has gone away wants nothing.
        let _ = answer.send(named);
    }
}

fn in_process(process: &Process, addresses: &[u64], namer: &mut Namer) -> Vec<Option<String>> {
    let places: Vec<_> = addresses.iter().map(|&address| own_address(process, address)).collect();
    let mut objects: HashMap<u64, (Arc<Object>, Vec<u64>)> = HashMap::new();
    for &(object, own) in places.iter().flatten() {
        objects.entry(object.id).or_insert_with(|| (Arc::clone(object), Vec::new())).1.push(own);
    }
    namer.prepare(objects);
    let named = places.into_iter().map(|place| place.map(|(object, own)| namer.functions(object.id, own)));
    named.map(|functions| name(functions.as_ref())).collect()
}

fn in_kernel(addresses: Vec<u64>, namer: &mut Namer) -> Vec<Option<String>> {
    namer.prepare_kernel(addresses.clone());
    addresses.into_iter().map(|address| name(namer.kernel_place(address).1)).collect()
}

/// The function whose code it is, whatever was inlined there: one name is asked for, and a function's own address has its name.
fn name(functions: Option<&Functions>) -> Option<String> {
    functions?.last().map(|function| function.name.clone())
}

/// Where questions go.
#[derive(Clone, Debug)]
pub struct Asking(mpsc::Sender<Question>);

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unasked {
    /// Too many wait.
    TooMany,
    /// Nobody listens any more.
    Over,
}

impl Asking {
    /// Where to ask, and what the collecting stage hears of it.
    #[must_use]
    pub fn new() -> (Self, mpsc::Receiver<Question>) {
        let (sender, receiver) = mpsc::channel(MOST);
        (Self(sender), receiver)
    }

    /// The function at each address, where there is one. Addresses are a process's, or without a pid the kernel's.
    pub(super) async fn ask(
        &self,
        pid: Option<u32>,
        addresses: Vec<u64>,
    ) -> Result<Vec<Option<String>>, Unasked> {
        let (answer, answered) = oneshot::channel();
        self.0.try_send(Question { pid, addresses, answer }).map_err(|error| match error {
            TrySendError::Full(_) => Unasked::TooMany,
            TrySendError::Closed(_) => Unasked::Over,
        })?;
        answered.await.map_err(|_| Unasked::Over)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        budget::{DEFAULT, Gauge, Memory, Pace},
        process::Table,
    };

    /// Has an address and a name.
    #[unsafe(no_mangle)]
    extern "C" fn profiler_test_symbol(number: u64) -> u64 {
        number.wrapping_mul(7)
    }

    /// Asks as somebody does, and answers as the stages do.
    async fn answered(pid: Option<u32>, addresses: &[u64]) -> Vec<Option<String>> {
        let (asking, mut questions) = Asking::new();
        let addresses = addresses.to_vec();
        let asked = tokio::spawn(async move { asking.ask(pid, addresses).await });
        let question = questions.recv().await.unwrap();
        let process = question.pid.map(|pid| Table::new().living(pid, &question.addresses));
        let mut namer = Namer::new(Gauge::new(Memory { bytes: DEFAULT }), Pace::new(None));
        question.about(process).name(&mut namer);
        asked.await.unwrap().unwrap()
    }

    #[tokio::test]
    async fn addresses_of_a_process_have_the_names_that_profiles_have() {
        let own = profiler_test_symbol as *const () as u64;
        let names = answered(Some(std::process::id()), &[own, 1, own + 1]).await;
        let name = Some("profiler_test_symbol".to_owned());
        assert_eq!(names, [name.clone(), None, name]);
        assert_eq!(answered(Some(u32::MAX), &[own]).await, [None], "no such process");
    }

    #[tokio::test]
    async fn too_many_are_refused_and_so_are_all_once_nobody_listens() {
        let (asking, questions) = Asking::new();
        let mut waiting = Vec::new();
        for _ in 0..MOST {
            let asking = asking.clone();
            waiting.push(tokio::spawn(async move { asking.ask(None, Vec::new()).await }));
        }
        tokio::task::yield_now().await;
        assert_eq!(asking.ask(None, Vec::new()).await, Err(Unasked::TooMany));
        drop(questions);
        assert_eq!(asking.ask(None, Vec::new()).await, Err(Unasked::Over));
        for waiting in waiting {
            assert_eq!(waiting.await.unwrap(), Err(Unasked::Over));
        }
    }
}
