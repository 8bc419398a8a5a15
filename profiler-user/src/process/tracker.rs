//! What the side-band told of processes, kept small: nothing is opened and nothing asked for, until one is sampled.
//!
//! # Which process an event belongs to
//! Events have a pid and a time, sampled processes a [`ProcessKey`]: pid, start time and exec id. Both times are of
//! CLOCK_BOOTTIME. copy_process() takes the start time after it has the pid, and reports the fork after that; a pid is
//! given away anew only after the exit of its process was reported. So of several processes with one pid the one is meant
//! whose fork is the first that is not older than the start time, however fast the pid came back.
//!
//! Within a process the exec id counts images. A fork begins with its parent's number, and an exec adds one: the number
//! of one image gives those of all its relatives ([`Lineage`]). Until one is known, the newest image is taken.

mod image;

use std::{collections::HashMap, sync::Arc};

use profiler_common::layout::{NAME_BYTES, NO_EXEC_ID, Name, ProcessInfo, ProcessKey};

pub(super) use image::Base;
use image::{Image, Known, Lineage, Start};

use super::ranges::{Files, Range, Ranges};
use crate::capture::sideband::{Event, Kind, Map};

/// Most processes that are kept, living and just ended ones.
const MAX_PROCESSES: usize = 1 << 16;
/// Most images of one pid that are kept after their end, and of all pids.
const MAX_PAST: usize = 16;
const MAX_PAST_TOTAL: usize = 1 << 16;
/// Windows for which an image is kept after its end. Its last samples may lie in the window after the one whose rows are
/// joined when the end is heard of.
const KEPT_WINDOWS: u8 = 2;
/// The images of a pid.
#[derive(Debug, Default)]
struct Images {
    current: Option<Image>,
    /// Those that ended of late, oldest first.
    past: Vec<Image>,
}

/// What is known of a sampled process.
#[derive(Clone, Debug)]
pub(super) struct Told {
    /// Whether it is what its pid runs now, as far as was heard.
    pub(super) current: bool,
    /// Whether `ranges` is all that it mapped.
    pub(super) complete: bool,
    /// Where the rest of its mappings is.
    pub(super) base: Option<Base>,
    /// What it mapped.
    pub(super) ranges: Arc<Ranges>,
    /// First address of the main binary; 0 where it is not known.
    pub(super) main: u64,
    /// The process that made it; 0 where that is not known.
    pub(super) parent: u32,
    /// Its name; empty where it is not known.
    pub(super) name: Name,
}

/// What an event means for a process that was sampled.
#[derive(Debug)]
pub(super) enum Change {
    /// It mapped something.
    Mapped(ProcessKey, Range),
    /// It ended, or executed something else.
    Ended(ProcessKey),
}

/// All processes that were heard of.
#[derive(Debug, Default)]
pub(super) struct Tracker {
    by_pid: HashMap<u32, Images>,
    files: Files,
    last_id: u64,
    past: usize,
    lost: bool,
    refused: u64,
}

impl Tracker {
    /// Learns from an event.
    pub(super) fn apply(&mut self, event: &Event<'_>) -> Option<Change> {
        let time_ns = event.time_ns;
        match event.kind {
            // 0 and -1 stand for tasks outside of the agent's pid namespace (perf_event_pid).
            Kind::Fork { pid, .. }
            | Kind::Exit { pid, .. }
            | Kind::Mmap2 { pid, .. }
            | Kind::Comm { pid, .. }
                if pid == 0 || pid == u32::MAX =>
            {
                None
            }
            Kind::Fork { pid, ppid, .. } if pid == ppid => {
                if let Some(image) = self.current(pid).filter(|image| image.threads > 0) {
                    image.threads += 1;
                }
                None
            }
            Kind::Fork { pid, ppid, .. } => self.fork(time_ns, pid, ppid),
            Kind::Comm { pid, exec: true, name, .. } => self.exec(time_ns, pid, name),
            Kind::Comm { pid, tid, exec: false, name } => {
                if let Some(image) = self.current(pid).filter(|_| pid == tid) {
                    image.name = fixed(name);
                }
                None
            }
            Kind::Mmap2 { pid, map, .. } => self.map(pid, &map),
            Kind::Exit { pid, tid } => self.exit(pid, tid),
            Kind::Lost { .. } => {
                self.lost = true;
                for image in self.by_pid.values_mut().filter_map(|images| images.current.as_mut()) {
                    image.doubt = true;
                    // An exec may be among what was lost.
                    image.lineage = Lineage::default();
                }
                None
            }
        }
    }

    fn current(&mut self, pid: u32) -> Option<&mut Image> {
        self.by_pid.get_mut(&pid)?.current.as_mut()
    }

    /// An image of which nothing is known but that it is there.
    fn unknown(&mut self, start: Start) -> Image {
        self.image(start, Lineage::default(), Arc::default())
    }

    fn image(&mut self, start: Start, lineage: Lineage, ranges: Arc<Ranges>) -> Image {
        self.last_id += 1;
        Image {
            id: self.last_id,
            process: self.last_id,
            parent: 0,
            start,
            lineage,
            name: [0; NAME_BYTES],
            threads: 0,
            known: Known::Nothing,
            like: None,
            doubt: false,
            ranges,
            main: 0,
            key: None,
            ended_windows: 0,
        }
    }

    /// Makes an image the one that its pid runs; the one before it has ended.
    fn begin(&mut self, pid: u32, image: Image) -> Option<Change> {
        if self.by_pid.len() >= MAX_PROCESSES && !self.by_pid.contains_key(&pid) {
            self.refused += 1;
            return None;
        }
        let old = self.by_pid.entry(pid).or_default().current.replace(image);
        old.and_then(|old| self.retire(pid, old))
    }

    fn retire(&mut self, pid: u32, image: Image) -> Option<Change> {
        let key = image.key;
        if let Some(images) = self.by_pid.get_mut(&pid) {
            if images.past.len() >= MAX_PAST {
                images.past.remove(0);
                self.past -= 1;
                self.refused += 1;
            }
            if self.past < MAX_PAST_TOTAL {
                // Most have one; a first push would make room for four.
                images.past.reserve_exact(1);
                images.past.push(image);
                self.past += 1;
            } else {
                self.refused += 1;
            }
        }
        key.map(Change::Ended)
    }

    fn fork(&mut self, time_ns: u64, pid: u32, ppid: u32) -> Option<Change> {
        if self.current(ppid).is_none() {
            let parent = self.unknown(Start::Before(time_ns));
            self.begin(ppid, parent);
        }
        let parent = self.by_pid.get(&ppid).and_then(|images| images.current.as_ref())?.clone();
        let mut child = self.image(Start::Forked(time_ns), parent.lineage, parent.ranges);
        child.parent = ppid;
        child.threads = 1;
        child.name = parent.name;
        child.known = match parent.known {
            Known::Nothing => Known::Since(Base { pid: ppid, image: parent.id }),
            known => known,
        };
        child.doubt = parent.doubt;
        child.main = parent.main;
        self.begin(pid, child)
    }

    fn exec(&mut self, time_ns: u64, pid: u32, name: &[u8]) -> Option<Change> {
        // When another thread than the leader executes, the leader's exit comes first; the process goes on.
        let old = self.by_pid.get(&pid).and_then(|images| images.current.as_ref().or(images.past.last()));
        let old = match old.cloned() {
            Some(old) => old,
            None => {
                // It keeps its place, for a sample of it may be on its way.
                let old = self.unknown(Start::Before(time_ns));
                self.begin(pid, old.clone());
                old
            }
        };
        let mut new = self.image(old.start, old.lineage.after_exec(), Arc::default());
        new.process = old.process;
        new.parent = old.parent;
        new.name = fixed(name);
        new.threads = 1;
        new.known = Known::All;
        self.begin(pid, new)
    }

    fn map(&mut self, pid: u32, map: &Map<'_>) -> Option<Change> {
        let image = self.by_pid.get_mut(&pid)?.current.as_mut()?;
        let is_kept = image.known != Known::Nothing || image.like.is_some();
        if !is_kept && image.key.is_none() {
            return None;
        }
        let range = self.files.range(map);
        if is_kept && !self.files.add(&mut image.ranges, &range) {
            image.doubt = true;
            self.refused += 1;
        }
        // The first file that an exec maps is the program, even where it is the interpreter of a script; then come
        // the dynamic linker and the rest (load_elf_binary).
        if image.main == 0 && image.known == Known::All && range.is_file() {
            image.main = range.start;
        }
        image.key.map(|key| Change::Mapped(key, range))
    }

    fn exit(&mut self, pid: u32, tid: u32) -> Option<Change> {
        let images = self.by_pid.get_mut(&pid)?;
        let image = images.current.as_mut()?;
        if image.threads > 1 {
            image.threads -= 1;
            return None;
        }
        // Of a process whose threads were not counted the leader's end is taken for the process's.
        if image.threads == 0 && pid != tid {
            return None;
        }
        let image = images.current.take()?;
        self.retire(pid, image)
    }

    /// The image that a sampled process is.
    fn find(&self, key: &ProcessKey) -> Option<&Image> {
        let images = self.by_pid.get(&key.pid)?;
        let all = || images.past.iter().chain(&images.current);
        let process = all().find(|image| image.start.can_be(key.start_ns))?.process;
        let of_process = || all().filter(|image| image.process == process);
        let newest = of_process().next_back()?;
        if newest.lineage.exec_id().is_some() {
            return of_process().find(|image| image.lineage.exec_id() == Some(key.exec_id));
        }
        if of_process().count() == 1 {
            newest.lineage.learn(key.exec_id);
        }
        Some(newest)
    }

    /// Learns from the announcement of a process that was sampled which of its images that is, and where what is older than
    /// the agent may be seen even after it is over.
    pub(super) fn announced(&mut self, key: &ProcessKey, info: &ProcessInfo) {
        self.meet(key);
        if info.forked_as != NO_EXEC_ID {
            self.learn_image(key, info.forked_as);
        }
        if info.image_of != 0 {
            self.learn_like(key, info.image_of);
        }
    }

    /// Learns which of its process's images was sampled from the exec id that the process was forked with. Where a process was
    /// forked as its parent's sibling (CLONE_PARENT of clone(2)) the kernel has another number there; if that one says that
    /// it has executed more often than was heard of, it says nothing.
    fn learn_image(&self, key: &ProcessKey, forked_as: u32) {
        let Some(images) = self.by_pid.get(&key.pid) else { return };
        let all = || images.past.iter().chain(&images.current);
        let Some(process) = all().find(|image| image.start.can_be(key.start_ns)).map(|image| image.process)
        else {
            return;
        };
        // The first one of a process has the process's own number.
        let Some(forked) = all().find(|image| image.id == process) else { return };
        let executed = all().filter(|image| image.process == process).count() - 1;
        let can_be = match forked.start {
            Start::Forked(_) => key.exec_id.wrapping_sub(forked_as) as usize <= executed,
            // How often one that is older than the agent has executed before, nobody knows: unless it has not even now.
            Start::At(_) | Start::Before(_) => key.exec_id == forked_as,
        };
        if can_be {
            forked.lineage.learn(forked_as);
        }
    }

    /// Learns that an image of which nothing was heard is that of the parent, which runs it still.
    fn learn_like(&mut self, key: &ProcessKey, parent: u32) {
        let Some(id) = self.find(key).filter(|image| image.known == Known::Nothing).map(|image| image.id)
        else {
            return;
        };
        if self.current(parent).is_none() {
            let image = self.unknown(Start::Before(key.start_ns));
            self.begin(parent, image);
        }
        // One that was heard of is younger, and another one.
        let same = self.current(parent).filter(|image| image.known == Known::Nothing).map(|image| image.id);
        let like = same.map(|image| Base { pid: parent, image });
        if let Some(image) = self.image_mut(key.pid, id) {
            image.like = like;
        }
    }

    /// Takes note of a process that was not heard of.
    fn meet(&mut self, key: &ProcessKey) {
        if !self.by_pid.contains_key(&key.pid) {
            let image = self.unknown(Start::At(key.start_ns));
            image.lineage.learn(key.exec_id);
            self.begin(key.pid, image);
        }
    }

    fn image_mut(&mut self, pid: u32, id: u64) -> Option<&mut Image> {
        let images = self.by_pid.get_mut(&pid)?;
        images.past.iter_mut().chain(&mut images.current).find(|image| image.id == id)
    }

    /// What is known of a process that was sampled. From now on changes of it are told.
    pub(super) fn sampled(&mut self, key: &ProcessKey) -> Option<Told> {
        self.meet(key);
        let id = self.find(key)?.id;
        let current = self.current(key.pid).is_some_and(|image| image.id == id);
        let image = self.image_mut(key.pid, id)?;
        image.key = Some(*key);
        Some(Told {
            current,
            complete: image.known == Known::All && !image.doubt,
            base: if let Known::Since(base) = image.known { Some(base) } else { image.like },
            ranges: Arc::clone(&image.ranges),
            main: image.main,
            parent: image.parent,
            name: image.name,
        })
    }

    /// Whether a process still runs the image that another one was forked from, and the key that it was sampled under.
    pub(super) fn base(&self, base: Base) -> (bool, Option<ProcessKey>) {
        let Some(images) = self.by_pid.get(&base.pid) else {
            return (false, None);
        };
        let is_it = |image: &&Image| image.id == base.image;
        let current = images.current.as_ref().filter(is_it);
        let image = current.or_else(|| images.past.iter().find(is_it));
        (current.is_some(), image.and_then(|image| image.key))
    }

    /// Changes of this process need no longer be told.
    pub(super) fn forget(&mut self, key: &ProcessKey) {
        if let Some(image) = self.current(key.pid).filter(|image| image.key == Some(*key)) {
            image.key = None;
        }
    }

    /// Ends a window: forgets what ended a while ago. After a loss the exits of processes may be among what was lost,
    /// and `is_alive` is asked of each once.
    pub(super) fn end_window(&mut self, is_alive: impl Fn(u32) -> bool) {
        let lost = std::mem::take(&mut self.lost);
        let Self { by_pid, past, .. } = self;
        let mut ranges = 0;
        by_pid.retain(|&pid, images| {
            if lost && !is_alive(pid) && images.current.is_some() {
                *past += 1;
                images.past.extend(images.current.take());
            }
            let before = images.past.len();
            images.past.retain_mut(|image| {
                image.ended_windows += 1;
                image.ended_windows <= KEPT_WINDOWS
            });
            *past -= before - images.past.len();
            if images.past.is_empty() {
                images.past = Vec::new();
            }
            ranges +=
                images.past.iter().chain(&images.current).map(|image| image.ranges.len()).sum::<usize>();
            images.current.is_some() || !images.past.is_empty()
        });
        if by_pid.capacity() > 4 * by_pid.len() + 1024 {
            by_pid.shrink_to(2 * by_pid.len());
        }
        self.files.end_window(ranges);
    }

    /// Number of pids that something is kept of.
    pub(super) fn len(&self) -> usize {
        self.by_pid.len()
    }

    /// Processes, images and mappings that were not kept because there were too many.
    pub(super) fn refused(&self) -> u64 {
        self.refused
    }
}

fn fixed(name: &[u8]) -> Name {
    let mut fixed = [0; NAME_BYTES];
    fixed.iter_mut().zip(name.iter().take(NAME_BYTES - 1)).for_each(|(to, from)| *to = *from);
    fixed
}

#[cfg(test)]
mod tests;
