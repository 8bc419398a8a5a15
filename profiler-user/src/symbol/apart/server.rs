//! The process that reads: answers one question after the other until nobody asks any more.

use std::{fs::File, io, os::unix::net::UnixStream};

use prost::Message;

use super::wire::{Answer, Kind, MOST_BYTES, Question};
use crate::{
    symbol::{
        reader::Reader,
        reading::{Reading, Refusal},
    },
    sys::{limits, lost_pages, own, passing, priority},
};

/// CPU seconds that one question may take: a file that makes the reader go round in circles ends it, and costs itself its names.
/// The debug information of a browser takes some three.
const MOST_SECONDS: u64 = 60;

/// Answers what comes through this socket until its other end is closed.
pub fn serve(socket: UnixStream) {
    limits::keep_heap_small();
    if let Err(error) = lost_pages::expect() {
        tracing::debug!("a file that is cut short while it is read ends the process that reads: {error}");
    }
    let mut reader = Reader::new();
    let mut nice = None;
    // Whoever asks learns of an end by the end of the connection.
    while let Ok(Some((question, file))) = receive(&socket) {
        if nice != Some(question.nice) {
            nice = Some(question.nice);
            priority::try_set_nice(question.nice);
        }
        if let Err(error) = limits::set_cpu_seconds(own::cpu().as_secs() + MOST_SECONDS) {
            tracing::debug!("a question may take for ever: {error}");
        }
        if let Err(error) = limits::set_growth(question.growth) {
            tracing::debug!("a question may take all memory: {error}");
        }
        let mut answer =
            answer(&mut reader, &question, file).unwrap_or_else(|refusal| Answer::refused(&refusal));
        add_usage(&mut answer);
        let mut bytes = answer.encode_to_vec();
        if bytes.len() > MOST_BYTES {
            let mut answer =
                Answer::refused(&Refusal::Lasting("its names are longer than any are".to_owned()));
            add_usage(&mut answer);
            bytes = answer.encode_to_vec();
        }
        if passing::send(&socket, &bytes, None).is_err() {
            return;
        }
    }
}

fn receive(socket: &UnixStream) -> io::Result<Option<(Question, Option<File>)>> {
    let Some((bytes, file)) = passing::receive(socket, MOST_BYTES)? else {
        return Ok(None);
    };
    Ok(Some((Question::decode(&*bytes).map_err(io::Error::other)?, file)))
}

fn answer(reader: &mut Reader, question: &Question, file: Option<File>) -> Result<Answer, Refusal> {
    // That a descriptor could not be taken over is told by its absence (unix(7)).
    let file = || file.ok_or_else(|| Refusal::Passing("no file came with the question".to_owned()));
    Ok(match question.kind() {
        Kind::Nothing => Answer::default(),
        Kind::Hold => Answer::of_contents(reader.hold(question.file, &file()?)?),
        Kind::Names => Answer::of_names(&reader.names(question.file, question.lines, &question.addresses)?),
        Kind::GoNames => match reader.go_names(question.file, &question.addresses)? {
            Some(names) => Answer::of_names(&names),
            None => Answer::no_go_table(),
        },
        Kind::Checksum => Answer::of_checksum(reader.checksum(&file()?)?),
        Kind::Forget => {
            reader.forget(question.file)?;
            Answer::default()
        }
        Kind::ReleasePages => {
            reader.release_pages()?;
            Answer::default()
        }
        Kind::Trim => {
            reader.trim()?;
            Answer::default()
        }
    })
}

fn add_usage(answer: &mut Answer) {
    let memory = own::memory();
    answer.cpu_ns = u64::try_from(own::cpu().as_nanos()).unwrap_or(u64::MAX);
    (answer.heap, answer.files) = (memory.private, memory.shared);
    answer.lost_pages = lost_pages::count();
}
