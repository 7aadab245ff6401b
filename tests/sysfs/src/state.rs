//! The machine at work: boards, tree, faults and what waits, under one lock.

use std::collections::{BTreeMap, HashMap};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use nix::errno::Errno;

use crate::attribute::{Attribute, word};
use crate::board::{Board, Progress};
use crate::command::{Behavior, Program};
use crate::fault::{Effect, Faults, On};
use crate::host::{Event, Host};
use crate::record::Record;
use crate::sketch::Sketch;
use crate::tree::{Found, Owner, Tree};
use crate::uevent::Uevent;

/// Answers a caller once the tree shows what its act has changed.
type Answer = Box<dyn FnOnce(&mut State, Result<(), Errno>) + Send>;
/// The last thing done about an act.
type Last = Box<dyn FnOnce(&mut State) + Send>;
/// Goes on with an act that a fault may have held up, with the content that the fault gives instead of the file's.
type Resume = Box<dyn FnOnce(&mut State, Result<Option<Vec<u8>>, Errno>) + Send>;

/// A board and whether it is in its slot.
pub(crate) struct Slot {
    pub(crate) board: Box<dyn Board>,
    pub(crate) present: bool,
}

enum Waiting {
    Write { owner: usize, attribute: Attribute, text: Vec<u8>, since: Duration, record: usize, answer: Answer },
    Moment { due: Duration, resume: Resume },
    Gate { gate: u64, resume: Resume },
}

pub(crate) struct State {
    pub(crate) host: Host,
    pub(crate) slots: Vec<Slot>,
    pub(crate) tree: Tree,
    pub(crate) faults: Faults,
    pub(crate) record: Record,
    pub(crate) listeners: Vec<Sender<Uevent>>,
    pub(crate) programs: BTreeMap<Program, Behavior>,
    /// Stub programs that take their time.
    pub(crate) programs_running: usize,
    pub(crate) handles: HashMap<u64, Handle>,
    /// Writes that have no answer yet, by file.
    writing: HashMap<u64, usize>,
    /// How many callers wait at each gate that is still shut.
    pub(crate) gates: BTreeMap<u64, usize>,
    waiting: Vec<Waiting>,
    answers: Vec<Last>,
    next_handle: u64,
    next_gate: u64,
    /// The machine goes away; nothing may wait any more.
    pub(crate) ended: bool,
}

/// A file that somebody has open.
#[derive(Debug, Default)]
pub(crate) struct Handle {
    pub(crate) inode: u64,
    /// What a read gave from its start; later reads go on in it.
    pub(crate) content: Vec<u8>,
    /// For the stream of commands: the words so far.
    pub(crate) words: Vec<u8>,
    pub(crate) asked: bool,
    /// For folders: what the listing had when it began.
    pub(crate) names: Vec<(u64, String)>,
}

pub(crate) struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

impl Shared {
    pub(crate) fn new(state: State) -> Arc<Self> {
        Arc::new(Self { state: Mutex::new(state), changed: Condvar::new() })
    }

    /// The state; whoever changes it calls [`State::settle`] before letting go.
    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        // A panic inside is a bug in the machine; the test that meets it next should see its own failure.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the state, lets everything follow that follows from it, and tells all who wait.
    pub(crate) fn act<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.lock();
        let result = act(&mut state);
        state.settle();
        drop(state);
        self.changed.notify_all();
        result
    }

    /// A look at the machine, which changes nothing unless a fault holds it up.
    pub(crate) fn look<T>(&self, look: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.lock();
        if state.is_due() {
            state.settle();
        }
        let waiting = state.waiting.len();
        let result = look(&mut state);
        state.flush();
        let held_up = state.waiting.len() != waiting;
        drop(state);
        if held_up {
            self.changed.notify_all();
        }
        result
    }

    /// Waits until a look at the state gives something, at most so long in real time.
    pub(crate) fn wait<T>(&self, most: Duration, mut look: impl FnMut(&mut State) -> Option<T>) -> Option<T> {
        let deadline = std::time::Instant::now() + most;
        let mut state = self.lock();
        loop {
            state.settle();
            if let Some(found) = look(&mut state) {
                state.settle();
                drop(state);
                self.changed.notify_all();
                return Some(found);
            }
            let left = deadline.checked_duration_since(std::time::Instant::now())?;
            let pause = state.pause().map_or(left, |pause| pause.min(left));
            state = self.changed.wait_timeout(state, pause).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Lets the machine's time do its work until the machine ends.
    pub(crate) fn keep_time(&self) {
        let mut state = self.lock();
        while !state.ended {
            state.settle();
            let pause = state.pause().unwrap_or(Duration::from_secs(3600));
            state = self.changed.wait_timeout(state, pause).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl State {
    pub(crate) fn new(host: Host) -> Self {
        Self {
            host,
            slots: Vec::new(),
            tree: Tree::new(),
            faults: Faults::default(),
            record: Record::default(),
            listeners: Vec::new(),
            programs: BTreeMap::new(),
            programs_running: 0,
            handles: HashMap::new(),
            writing: HashMap::new(),
            gates: BTreeMap::new(),
            waiting: Vec::new(),
            answers: Vec::new(),
            next_handle: 1,
            next_gate: 1,
            ended: false,
        }
    }

    /// The present board that has this device: a PF's or VF's address, an mdev's UUID, a virtual parent's name.
    pub(crate) fn board_of(&self, device: &str) -> Option<usize> {
        self.slots.iter().position(|slot| slot.present && (slot.board.name() == device || slot.board.has(device)))
    }

    /// Lets a board act, which may change how it looks.
    pub(crate) fn at<T>(&mut self, board: usize, act: impl FnOnce(&mut dyn Board, &mut Host) -> T) -> T {
        self.host.board = board;
        self.host.changed.insert(board);
        act(self.slots[board].board.as_mut(), &mut self.host)
    }

    /// The next moment at which something happens by itself.
    fn next(&self) -> Option<Duration> {
        let agenda = self.host.agenda.keys().next().map(|(due, _)| *due);
        let waits = self.waiting.iter().filter_map(|waiting| match waiting {
            Waiting::Moment { due, .. } => Some(*due),
            _ => None,
        });
        waits.chain(agenda).min()
    }

    fn is_due(&self) -> bool {
        self.ended || self.next().is_some_and(|next| next <= self.host.clock.now())
    }

    /// Real time until then.
    fn pause(&self) -> Option<Duration> {
        self.host.clock.until(self.next()?)
    }

    /// Does what is due, looks again at what waits, draws what has changed, and then answers and tells.
    pub(crate) fn settle(&mut self) {
        loop {
            let events = self.happen();
            let resumed = self.resume();
            if !events && !resumed {
                break;
            }
        }
        self.draw();
        self.flush();
        for uevent in std::mem::take(&mut self.host.uevents) {
            self.listeners.retain(|listener| listener.send(uevent.clone()).is_ok());
        }
    }

    fn flush(&mut self) {
        for answer in std::mem::take(&mut self.answers) {
            answer(self);
        }
    }

    fn happen(&mut self) -> bool {
        let now = self.host.clock.now();
        let mut any = false;
        while let Some(entry) = self.host.agenda.first_entry().filter(|entry| entry.key().0 <= now) {
            let (board, event) = entry.remove();
            any = true;
            if event != Event::Wake && self.slots[board].present {
                self.at(board, |board, host| board.happen(host, &event));
            }
        }
        any
    }

    fn resume(&mut self) -> bool {
        let now = self.host.clock.now();
        let mut any = false;
        for waiting in std::mem::take(&mut self.waiting) {
            match waiting {
                Waiting::Write { answer, record, .. } if self.ended => self.finish(record, Err(Errno::EIO), answer),
                Waiting::Write { owner, attribute, text, since, record, answer } => {
                    any |= self.write_on(owner, attribute, text, Some(since), record, answer);
                }
                Waiting::Moment { resume, .. } | Waiting::Gate { resume, .. } if self.ended => {
                    resume(self, Err(Errno::EIO));
                }
                Waiting::Moment { due, resume } if due <= now => {
                    any = true;
                    resume(self, Ok(None));
                }
                Waiting::Gate { gate, resume } if !self.gates.contains_key(&gate) => {
                    any = true;
                    resume(self, Ok(None));
                }
                other => self.waiting.push(other),
            }
        }
        any
    }

    /// Goes on when what a fault says is over, or fails as it says.
    pub(crate) fn disturbed(&mut self, on: On, path: &str, resume: Resume) {
        match self.faults.strike(on, path) {
            Some(Effect::Content(bytes)) => resume(self, Ok(Some(bytes))),
            Some(Effect::Errno(errno)) => resume(self, Err(errno)),
            Some(Effect::Delay(time)) => self.later(time, resume),
            Some(Effect::Block(gate)) if self.gates.contains_key(&gate) => {
                *self.gates.entry(gate).or_default() += 1;
                self.waiting.push(Waiting::Gate { gate, resume });
            }
            None | Some(Effect::Block(_)) => resume(self, Ok(None)),
        }
    }

    pub(crate) fn later(&mut self, time: Duration, resume: Resume) {
        let due = self.host.clock.now().saturating_add(time);
        self.waiting.push(Waiting::Moment { due, resume });
    }

    pub(crate) fn gate(&mut self) -> u64 {
        self.next_gate += 1;
        self.gates.insert(self.next_gate - 1, 0);
        self.next_gate - 1
    }

    pub(crate) fn handle(&mut self, handle: Handle) -> u64 {
        self.next_handle += 1;
        self.handles.insert(self.next_handle - 1, handle);
        self.next_handle - 1
    }

    /// Whether a write to the file at this inode waits for its answer.
    pub(crate) fn is_written(&self, inode: u64) -> bool {
        self.writing.get(&inode).is_some_and(|count| *count > 0)
    }

    /// A write to the file at this inode, faults and all.
    pub(crate) fn write(&mut self, inode: u64, text: Vec<u8>, answer: Box<dyn FnOnce(Result<(), Errno>) + Send>) {
        let path = self.tree.path(inode);
        let record = self.record.write(path.clone(), &text);
        *self.writing.entry(inode).or_default() += 1;
        let answer: Answer = Box::new(move |state, result| {
            if let Some(count) = state.writing.get_mut(&inode) {
                *count -= 1;
            }
            answer(result);
        });
        self.disturbed(
            On::Write,
            &path,
            Box::new(move |state, result| match (result, state.tree.get(inode)) {
                (Err(errno), _) => state.finish(record, Err(errno), answer),
                (Ok(_), Some(Found::Leaf(crate::sketch::Leaf::File(file), owner))) => {
                    match (file.attribute.clone(), owner) {
                        (Some(attribute), Owner::Board(board)) => {
                            state.write_on(board, attribute, text, None, record, answer);
                        }
                        (Some(Attribute::Stored { path }), _) => {
                            state.tree.store(&path, &text);
                            state.finish(record, Ok(()), answer);
                        }
                        (Some(attribute), _) => state.write_to_bus(attribute, text, record, answer),
                        (None, _) => state.finish(record, Err(Errno::EIO), answer),
                    }
                }
                // Open files of a device that is gone.
                (Ok(_), _) => state.finish(record, Err(Errno::ENODEV), answer),
            }),
        );
    }

    /// Writes that name their device in the text.
    fn write_to_bus(&mut self, attribute: Attribute, text: Vec<u8>, record: usize, answer: Answer) {
        match word(&text).ok().and_then(|device| self.board_of(&device)) {
            Some(board) => {
                self.write_on(board, attribute, text, None, record, answer);
            }
            None => self.finish(record, Err(Errno::ENODEV), answer),
        }
    }

    /// Tells whether the write ended.
    fn write_on(
        &mut self,
        owner: usize,
        attribute: Attribute,
        text: Vec<u8>,
        since: Option<Duration>,
        record: usize,
        answer: Answer,
    ) -> bool {
        let progress = if self.slots[owner].present {
            self.at(owner, |board, host| board.write(host, &attribute, &text, since))
        } else {
            Progress::Refused(Errno::ENODEV)
        };
        let result = match progress {
            Progress::Done => Ok(()),
            Progress::Refused(errno) => Err(errno),
            Progress::Waits => {
                let since = since.unwrap_or_else(|| self.host.clock.now());
                self.waiting.push(Waiting::Write { owner, attribute, text, since, record, answer });
                return false;
            }
        };
        self.finish(record, result, answer);
        true
    }

    fn finish(&mut self, record: usize, result: Result<(), Errno>, answer: Answer) {
        self.record.result(record, result);
        self.answers.push(Box::new(move |state| answer(state, result)));
    }

    /// Answers after the tree has been drawn.
    pub(crate) fn answer(&mut self, answer: Last) {
        self.answers.push(answer);
    }

    fn draw(&mut self) {
        let changed = std::mem::take(&mut self.host.changed);
        for board in &changed {
            let mut sketch = Sketch::default();
            let slot = &self.slots[*board];
            if slot.present {
                slot.board.draw(&self.host, &mut sketch);
            }
            self.tree.replace(Owner::Board(*board), sketch);
        }
        if self.host.processes_changed {
            self.host.processes_changed = false;
            let mut sketch = Sketch::default();
            for (pid, process) in &self.host.processes {
                process.draw(*pid, &mut sketch);
            }
            self.tree.replace(Owner::Processes, sketch);
        }
    }
}
