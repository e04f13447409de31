//! The manager under any events in any order: it never panics, and what it says is in order and within its limits.

use crate::rig::{BODY, HAS, config, executor_hello, task, x};
use crate::tape::Tape;
use crate::words::Names;
use bursa_core::id::{BlockId, ConnId, Hash};
use bursa_core::limits;
use bursa_core::manager::{Action, Config, Event, Manager, Scale};
use bursa_core::time::{Fine, Mono, Now, Wall};
use bursa_core::wire::{Item, Message, Peer, Session};
use std::collections::BTreeMap;

fn names() -> Names {
    Names {
        task,
        hashes: [Hash::of(BODY), Hash::of(b"gone")],
        peers: [1, 2, 3].map(|n| Peer::Executor { executor: x(n) }),
    }
}

fn block(n: u8) -> BlockId {
    BlockId::from_bytes([n; 16])
}

/// A manager, and what sits at the other ends of its connections.
struct Rig {
    manager: Manager,
    ms: u64,
    hub: Option<Session>,
    executors: BTreeMap<u8, (ConnId, Session)>,
    conns: u64,
    /// Blocks that were asked for.
    blocks: Vec<BlockId>,
    exited: bool,
}

impl Rig {
    fn new(tape: &mut Tape<'_>) -> Self {
        let hints = (0..tape.below(3)).map(|n| x(1 + u8::try_from(n).unwrap())).collect();
        let found = [1, 2, 3].into_iter().filter(|_| tape.one_in(2));
        let found = found.map(|n| (block(n), vec![x(n)])).collect();
        let max = tape.below(3);
        let scale = Scale {
            min: tape.below(1 + max),
            nodes: 1 + tape.below(2),
            idle_ms: tape.pick(&[0, 1_000, u64::MAX]),
            walltime_ms: tape.pick(&[None, Some(0), Some(60_000)]),
            scheduler: tape.one_in(2),
            has: tape.pick(&[HAS, bursa_core::resources::Resources::UNKNOWN]),
            ..Scale::fixed(max)
        };
        let config = Config { scale, found, hints, ..config() };
        let now = Now { mono: Mono(1_000_000), fine: Fine(1_000_000_000_000), wall: Wall(0) };
        Self {
            manager: Manager::new(config, now),
            ms: 1_000_000,
            hub: None,
            executors: BTreeMap::new(),
            conns: 0,
            blocks: Vec::new(),
            exited: false,
        }
    }

    fn event(&mut self, event: Event) {
        if self.exited {
            return;
        }
        let now = Now { mono: Mono(self.ms), fine: Fine(self.ms * 1_000_000), wall: Wall(0) };
        let mut out = Vec::new();
        self.manager.handle(now, event, &mut out);
        self.manager.flush(now, &mut out);
        assert!(out.len() < 10_000, "{} actions of one event", out.len());
        for action in out {
            match action {
                Action::SendHub { message } => self.hub_hears(message),
                Action::SendExecutor { conn, message } => {
                    let found = self.executors.values_mut().find(|(known, _)| *known == conn);
                    if let Some((_, session)) = found {
                        let _ = session.receive(now.mono, message);
                    }
                }
                Action::Launch { block, .. } => self.blocks.push(block),
                Action::SaveHints { executors } => assert!(executors.len() <= limits::EXECUTORS),
                Action::Exit { .. } => self.exited = true,
                _ => {}
            }
        }
    }

    fn hub_hears(&mut self, message: Message) {
        assert!(message.items.len() <= limits::BATCH_ITEMS);
        if message.envelope.seq == 0 && matches!(message.items.first(), Some(Item::Hello(_))) {
            self.hub = Some(Session::new(message.envelope.sid, Mono(self.ms)));
        }
        if let Some(session) = &mut self.hub {
            session.receive(Mono(self.ms), message).expect("a session in order");
        }
    }

    fn hub_says(&mut self, items: Vec<Item>) {
        let Some(session) = &mut self.hub else { return };
        items.into_iter().for_each(|item| session.push(item));
        let mut messages = Vec::new();
        session.flush(Mono(self.ms), |message| messages.push(message));
        messages.into_iter().for_each(|message| self.event(Event::FromHub { message }));
    }

    fn executor_says(&mut self, n: u8, items: Vec<Item>) {
        let Some((conn, session)) = self.executors.get_mut(&n) else { return };
        items.into_iter().for_each(|item| session.push(item));
        let (conn, mut messages) = (*conn, Vec::new());
        session.flush(Mono(self.ms), |message| messages.push(message));
        for message in messages {
            self.event(Event::FromExecutor { conn, executor: x(n), message });
        }
    }

    fn connect(&mut self, n: u8, tape: &mut Tape<'_>) {
        self.conns += 1;
        let session = Session::new(1_000 + self.conns, Mono(self.ms));
        self.executors.insert(n, (ConnId(self.conns), session));
        let words = names().hello(tape);
        let hello = match tape.one_in(4) {
            true => Item::Hello(Box::new(words)),
            false => executor_hello(x(n), self.conns, words.held, words.capacity),
        };
        self.executor_says(n, vec![hello]);
    }

    fn step(&mut self, tape: &mut Tape<'_>) {
        let n = 1 + u8::try_from(tape.below(3)).unwrap();
        match tape.below(24) {
            0 => self.event(Event::LinkUp),
            1 if tape.one_in(4) => {
                self.hub = None;
                self.event(Event::LinkDown { why: "fuzz".into() });
            }
            2 => self.hub_says(vec![Item::Welcome {
                proto: 2,
                epoch: 1,
                heartbeat_ms: 10_000,
                threshold_ms: 30_000,
                result_window: 1 << 20,
            }]),
            3 => self.connect(n, tape),
            4 => self.event(Event::FromHub { message: names().message(tape) }),
            5 => {
                let (conn, message) = (ConnId(u64::from(tape.below(6))), names().message(tape));
                self.event(Event::FromExecutor { conn, executor: x(n), message });
            }
            6 if tape.one_in(4) => self.event(Event::Unreachable { conn: ConnId(u64::from(tape.below(6))) }),
            7 => {
                let block =
                    self.blocks.get(tape.below(8) as usize).copied().unwrap_or(block(tape.byte() % 4));
                self.event(match tape.below(4) {
                    0 => Event::BlockWaiting { block, reason: "fuzz".into() },
                    1 => Event::BlockStarted { block, left_ms: tape.pick(&[None, Some(0), Some(30_000)]) },
                    2 => Event::BlockEnded { block, why: "fuzz".into() },
                    _ => Event::ProviderAnswered {
                        trouble: tape.pick(&[None, Some("fuzz")]).map(str::to_owned),
                    },
                });
            }
            8 if tape.one_in(2) => self.event(Event::ExecutorGone { executor: x(n), why: "fuzz".into() }),
            9 | 10 => self.event(Event::HintsSaved),
            11 if tape.one_in(2) => self.event(Event::GenerationRaised { generation: tape.wild() }),
            12 if tape.one_in(16) => self.event(Event::Stop { grace_ms: tape.pick(&[0, 2_000, u64::MAX]) }),
            13 => {
                self.ms += tape.pick(&[1, 100, 3_000, 13_000]);
                self.event(Event::Tick);
            }
            14..=17 => {
                let items = (0..=tape.below(3)).map(|_| names().item(tape)).collect();
                self.executor_says(n, items);
            }
            _ => {
                let items = (0..=tape.below(3)).map(|_| names().item(tape)).collect();
                self.hub_says(items);
            }
        }
    }
}

#[test]
fn any_events_in_any_order() {
    bolero::check!().for_each(|bytes: &[u8]| {
        let mut tape = Tape::new(bytes);
        let mut rig = Rig::new(&mut tape);
        rig.event(Event::Tick);
        while !tape.is_over() && !rig.exited {
            rig.step(&mut tape);
        }
        let held = rig.manager.holdings().len();
        assert!(held <= 12 * bytes.len(), "{held} attempts are held of a few that were ever named");
    });
}
