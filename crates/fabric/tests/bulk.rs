//! The bulk connection of a link: every message in its place, who gets in, and what its end means.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod common;

use bursa_core::limits::{BULK_BYTES, BULK_PIECE_BYTES, HIGH_WATER, LINK_FRAME_BYTES, LINK_FRAMES, WINDOW};
use bursa_fabric::{Connector, Disconnected, Incoming, SendError};
use bytes::Bytes;
use common::{Stranger, TIMING, World, pause, run, text};
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};

/// `size` bytes that no other message has.
fn large(size: usize, mark: usize) -> Vec<Bytes> {
    let bytes: Vec<u8> = (0..size).map(|at| (at ^ (at >> 8) ^ (mark * 7)).to_le_bytes()[0]).collect();
    vec![Bytes::from(format!("head {mark}")), bytes.into()]
}

fn open_world() -> World {
    let mut world = World::new();
    world.acceptor.listen_bulk(0).unwrap();
    world
}

/// Says `message`, and what comes of it while both ends are served.
async fn up(world: &mut World, from: &mut Connector, message: &[Bytes]) -> Incoming {
    from.send(message).unwrap();
    tokio::select! {
        incoming = world.acceptor.recv() => incoming,
        other = from.recv() => panic!("unexpected {other:?}"),
    }
}

/// A link both of whose directions have moved to its bulk connection.
async fn linked(world: &mut World) -> (Connector, Incoming) {
    let (mut ann, hello) = world.ann().await;
    for mark in 0..1_000 {
        let sent = large(10, mark);
        assert_eq!(up(world, &mut ann, &sent).await.frames, sent);
        if world.acceptor.counters().bulk_made == 1 {
            // The connector has to see it too: it did when this comes by it.
            world.acceptor.send(hello.conn, &sent).unwrap();
            tokio::select! {
                back = ann.recv() => assert_eq!(back, Ok(sent)),
                other = world.acceptor.recv() => panic!("unexpected {other:?}"),
            }
            return (ann, hello);
        }
    }
    panic!("no bulk connection: {:?}", world.acceptor.counters());
}

/// Messages go both ways all the time, before, while and after they move.
#[test]
fn none_is_lost_or_overtaken_by_the_move() {
    run(async {
        for quiet in [0, 1, 3, 40] {
            let mut world = open_world();
            let (mut ann, hello) = world.ann().await;
            let (mut up, mut down, mut sent) = (0, 0, 0);
            while up < 400 || down < 400 {
                // No session has more under way.
                if sent < 400 && ((sent - up.min(down)) as u64) < WINDOW {
                    ann.send(&large(sent, sent)).unwrap();
                    world.acceptor.send(hello.conn, &large(sent, sent)).unwrap();
                    sent += 1;
                }
                for _ in 0..quiet {
                    tokio::task::yield_now().await;
                }
                while let Some(incoming) = world.acceptor.try_recv() {
                    assert_eq!((incoming.conn, incoming.frames), (hello.conn, large(up, up)));
                    up += 1;
                }
                while let Some(frames) = ann.try_recv().unwrap() {
                    assert_eq!(frames, large(down, down));
                    down += 1;
                }
                tokio::task::yield_now().await;
            }
            let counters = world.acceptor.counters();
            assert_eq!((counters.bulk_made, counters.bulk_lost), (1, 0));
        }
    });
}

#[test]
fn every_message_comes_whole_and_in_its_place() {
    run(async {
        let mut world = open_world();
        let (mut ann, hello) = linked(&mut world).await;
        let piece = BULK_PIECE_BYTES;
        let sizes =
            [0, 1, BULK_BYTES, 5, piece - 6, piece - 7, 9, 3 * piece, LINK_FRAME_BYTES, 0, piece + 1, 2];
        let messages: Vec<Vec<Bytes>> =
            sizes.iter().enumerate().map(|(mark, size)| large(*size, mark)).collect();
        let many =
            (0..=255).map(|mark: u8| Bytes::from(vec![mark; if mark.is_multiple_of(3) { 0 } else { 400 }]));
        let mut many: Vec<Bytes> = std::iter::once(Bytes::from_static(b"many")).chain(many).collect();
        // A large frame in the middle, whose last piece is small.
        many.insert(100, large(3 * piece + BULK_BYTES + 1, 9).remove(1));
        many.push(large(BULK_BYTES, 8).remove(1));
        for round in 0..3 {
            for message in messages.iter().chain([&many]) {
                ann.send(message).unwrap();
                world.acceptor.send(hello.conn, message).unwrap();
            }
            let (mut up, mut down) = (Vec::new(), Vec::new());
            while up.len() <= messages.len() || down.len() <= messages.len() {
                tokio::select! {
                    incoming = world.acceptor.recv() => {
                        assert_eq!((incoming.conn, incoming.key), (hello.conn, world.ann.public));
                        up.push(incoming.frames);
                    }
                    frames = ann.recv() => down.push(frames.unwrap()),
                }
            }
            for came in [up, down] {
                assert!(came.iter().eq(messages.iter().chain([&many])), "round {round}");
            }
        }
        let counters = world.acceptor.counters();
        assert_eq!((counters.bulk_made, counters.bulk_lost, counters.bulk_refused), (1, 0, 0));
        // As on a link.
        let frame = large(LINK_FRAME_BYTES, 1).remove(1);
        let larger = large(LINK_FRAME_BYTES + 1, 1);
        for wrong in [vec![], larger, vec![frame; 3], vec![Bytes::from_static(b"x"); LINK_FRAMES + 1]] {
            assert_eq!(ann.send(&wrong), Err(SendError::TooLarge));
            assert_eq!(world.acceptor.send(hello.conn, &wrong), Err(SendError::TooLarge));
        }
    });
}

/// Who is refused hears it, though its link is forgotten at once.
#[test]
fn last_words_are_heard() {
    run(async {
        let mut world = open_world();
        let (mut ann, hello) = linked(&mut world).await;
        let words = large(3 << 20, 1);
        // Something of it is on its way to an end that will not read it.
        ann.send(&text("still here")).unwrap();
        world.acceptor.send(hello.conn, &words).unwrap();
        world.acceptor.send(hello.conn, &text("go away")).unwrap();
        world.acceptor.forget(hello.conn);
        for expected in [Ok(words), Ok(text("go away")), Err(Disconnected::Lost)] {
            tokio::select! {
                came = ann.recv() => assert_eq!(came, expected),
                other = world.acceptor.recv() => panic!("unexpected {other:?}"),
            }
        }
    });
}

#[test]
fn without_its_port_all_goes_over_the_link() {
    run(async {
        // Its peers come by an address where only the link is let through.
        let mut world = open_world();
        let wall = TcpListener::bind("127.0.0.2:0").unwrap();
        let (through, inside) = (wall.local_addr().unwrap().to_string(), world.addr());
        std::thread::spawn(move || {
            while let Ok((near, _)) = wall.accept() {
                let far = TcpStream::connect(&inside).unwrap();
                for (mut from, mut to) in [(near.try_clone().unwrap(), far.try_clone().unwrap()), (far, near)]
                {
                    std::thread::spawn(move || std::io::copy(&mut from, &mut to));
                }
            }
        });
        let server = world.server.public;
        let mut ann = Connector::connect(&world.context, &through, &server, &world.ann, TIMING).unwrap();
        world.meet(&mut ann).await.unwrap();
        for mark in 0..20 {
            let message = large(1 << 20, mark);
            let came = up(&mut world, &mut ann, &message).await;
            assert_eq!(came.frames, message);
            world.acceptor.send(came.conn, &message).unwrap();
            assert_eq!(ann.recv().await, Ok(message));
        }
        assert_eq!(world.acceptor.counters().bulk_made, 0);
    });
}

#[test]
fn a_port_in_use_is_told_and_does_no_harm() {
    run(async {
        let mut world = World::new();
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = taken.local_addr().unwrap().port();
        let error = world.acceptor.listen_bulk(port).unwrap_err().to_string();
        assert!(
            error.starts_with(&format!("cannot listen on 127.0.0.1:{port} for bulk connections")),
            "{error}"
        );
        let (mut ann, _) = world.ann().await;
        let message = large(1 << 20, 1);
        assert_eq!(up(&mut world, &mut ann, &message).await.frames, message);
    });
}

#[test]
fn when_it_breaks_the_link_is_over() {
    run(async {
        let mut world = open_world();
        let (mut ann, hello) = linked(&mut world).await;
        // The acceptor's side forgets the link, and with it the connection.
        world.acceptor.forget(hello.conn);
        assert_eq!(ann.recv().await, Err(Disconnected::Lost));
        assert_eq!(world.acceptor.counters().bulk_lost, 0);
        // The connector's side goes.
        let (ann, hello) = world.ann().await;
        drop(ann);
        world.check().await;
        while world.acceptor.send(hello.conn, &text("x")) != Err(SendError::Unreachable) {
            pause(1).await;
        }
    });
}

/// The same acceptor is not tried again soon, a new one is: the process of the last is gone, and so is what was between.
#[test]
fn a_new_acceptor_is_tried_at_once() {
    run(async {
        let mut world = open_world();
        let (ann, _) = linked(&mut world).await;
        drop(ann);
        let (mut ann, hello) = world.ann().await;
        for mark in 0..100 {
            let message = large(10, mark);
            assert_eq!(up(&mut world, &mut ann, &message).await.frames, message);
            world.acceptor.send(hello.conn, &message).unwrap();
            assert_eq!(ann.recv().await, Ok(message));
        }
        assert_eq!(world.acceptor.counters().bulk_made, 1, "the second link stays where it was");
        let mut new = open_world();
        std::mem::swap(&mut new.context, &mut world.context);
        linked(&mut new).await;
    });
}

#[test]
fn a_revoked_key_says_nothing_there_either() {
    run(async {
        let mut world = open_world();
        let (mut ann, _) = linked(&mut world).await;
        for mark in 0..10 {
            ann.send(&large(1 << 20, mark)).unwrap();
        }
        // Some are here already.
        let first = world.acceptor.recv().await;
        assert_eq!(first.frames, large(1 << 20, 0));
        world.acceptor.revoke(&world.ann.public);
        assert_eq!(world.serve(200).await, []);
        assert!(world.acceptor.counters().revoked_dropped > 0);
    });
}

/// A peer with ann's right to a link that does what it likes with its bulk connection.
struct Rogue {
    link: Stranger,
    offer: Vec<u8>,
    key: LessSafeKey,
    count: u64,
}

impl Rogue {
    async fn new(world: &mut World) -> (Self, Incoming) {
        let keys = zmq::CurveKeyPair::new().unwrap();
        world.acceptor.allow(bursa_fabric::PublicKey(keys.public_key), "ann");
        let link = world.stranger(Some(&keys), |_| ());
        link.socket.send("hello", zmq::DONTWAIT).unwrap();
        let hello = world.acceptor.recv().await;
        let mut offer = None;
        while offer.is_none() {
            world.serve(5).await;
            offer = link.heard();
        }
        let offer = offer.unwrap().remove(1);
        assert_eq!((offer.len(), offer[0]), (1 + 2 + 16 + 64 + 8, 4));
        let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &offer[19..51]).unwrap());
        (Self { link, offer, key, count: 0 }, hello)
    }

    fn port(&self) -> u16 {
        u16::from_le_bytes([self.offer[1], self.offer[2]])
    }

    fn piece(&mut self, content: &[u8]) -> Vec<u8> {
        let (mut nonce, mut piece) = ([0; 12], content.to_vec());
        nonce[4..].copy_from_slice(&self.count.to_be_bytes());
        self.count += 1;
        let nonce = Nonce::assume_unique_for_key(nonce);
        self.key.seal_in_place_append_tag(nonce, Aad::empty(), &mut piece).unwrap();
        piece
    }

    fn greeting(&mut self) -> Vec<u8> {
        let proof = self.piece(b"");
        [&self.offer[3..19], &proof].concat()
    }

    /// Comes in as it should.
    async fn enter(&mut self, world: &mut World) -> TcpStream {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port())).unwrap();
        stream.write_all(&self.greeting()).unwrap();
        world.until(|acceptor| acceptor.counters().bulk_made > 0).await;
        stream.read_exact(&mut [0; 16]).unwrap();
        stream
    }

    fn move_there(&self) {
        self.link.socket.send_multipart(["", "\x05"], zmq::DONTWAIT).unwrap();
    }

    /// A piece as it travels.
    fn sized(&mut self, content: &[u8]) -> Vec<u8> {
        let size = u32::try_from(content.len()).unwrap();
        [size.to_le_bytes().as_slice(), &self.piece(content)].concat()
    }
}

#[test]
fn who_has_no_offer_is_turned_away() {
    run(async {
        let mut world = open_world();
        let (mut rogue, _) = Rogue::new(&mut world).await;
        let knock = |bytes: &[u8]| {
            let mut stream = TcpStream::connect(("127.0.0.1", rogue.port())).unwrap();
            stream.write_all(bytes).unwrap();
            stream
        };
        // No token, one of nobody, a good one without its key: which is spent then.
        let token = rogue.offer[3..19].to_vec();
        let idle = knock(b"");
        let _ = (knock(&[7; 32]), knock(b"GET / HTTP/1.1\r\nHost: example.org\r\n\r\n"));
        let _ = knock(&[&token, [7; 16].as_slice()].concat());
        world.until(|acceptor| acceptor.counters().bulk_refused >= 3).await;
        let greeting = rogue.greeting();
        let mut late = TcpStream::connect(("127.0.0.1", rogue.port())).unwrap();
        late.write_all(&greeting).unwrap();
        world.until(|acceptor| acceptor.counters().bulk_refused >= 4).await;
        assert_eq!(world.acceptor.counters().bulk_made, 0);
        // The next one is welcome, once.
        let (mut rogue, _) = Rogue::new(&mut world).await;
        let greeting = rogue.greeting();
        rogue.count = 0;
        let first = rogue.enter(&mut world).await;
        let mut again = TcpStream::connect(("127.0.0.1", rogue.port())).unwrap();
        again.write_all(&greeting).unwrap();
        world.until(|acceptor| acceptor.counters().bulk_refused >= 5).await;
        assert_eq!(world.acceptor.counters().bulk_made, 1);
        drop((idle, first));
        world.check().await;
    });
}

#[test]
fn an_offer_ends_with_its_link() {
    run(async {
        let mut world = open_world();
        let (mut rogue, hello) = Rogue::new(&mut world).await;
        world.acceptor.forget(hello.conn);
        let greeting = rogue.greeting();
        let mut stream = TcpStream::connect(("127.0.0.1", rogue.port())).unwrap();
        stream.write_all(&greeting).unwrap();
        world.until(|acceptor| acceptor.counters().bulk_refused == 1).await;
    });
}

/// Its name, and what it does to the pieces.
type Fault = (&'static str, fn(&mut [Vec<u8>]));

#[test]
fn what_its_peer_did_not_make_ends_the_link() {
    // What is wrong with the bytes of a message of 3 pieces.
    let faults: [Fault; 6] = [
        ("cut", |pieces| pieces[1].truncate(70)),
        ("changed", |pieces| pieces[1][9] ^= 1),
        ("swapped", |pieces| pieces.swap(1, 2)),
        ("repeated", |pieces| pieces[2] = pieces[1].clone()),
        ("empty", |pieces| pieces[1][..4].fill(0)),
        ("too large", |pieces| pieces[1][..4].fill(0xff)),
    ];
    for (name, fault) in faults {
        run(async {
            let mut world = open_world();
            let (mut rogue, hello) = Rogue::new(&mut world).await;
            let mut stream = rogue.enter(&mut world).await;
            rogue.move_there();
            let size = u32::try_from(2 * BULK_PIECE_BYTES).unwrap();
            let head = [1_u32.to_le_bytes(), size.to_le_bytes()].concat();
            let mut pieces = vec![rogue.sized(&head)];
            pieces.extend((0..2).map(|mark| rogue.sized(&vec![mark; BULK_PIECE_BYTES])));
            fault(&mut pieces);
            for piece in pieces {
                // The other end may be closed before all is written.
                let _ = stream.write_all(&piece);
                if piece.len() == 70 {
                    break;
                }
            }
            stream.shutdown(std::net::Shutdown::Write).unwrap();
            world.until(|acceptor| acceptor.counters().bulk_lost == 1).await;
            assert_eq!(world.acceptor.send(hello.conn, &text("x")), Err(SendError::Unreachable), "{name}");
            assert_eq!(world.acceptor.try_recv(), None, "{name}: nothing of it, and nothing behind it");
            world.check().await;
        });
    }
}

#[test]
fn what_is_beyond_the_limits_ends_the_link() {
    let large = LINK_FRAME_BYTES;
    let many = [vec![LINK_FRAMES + 1], vec![0; LINK_FRAMES + 1]].concat();
    // No frames, more or larger ones than a link takes, a head that is cut, and bytes that belong to no frame.
    let heads = [vec![0], many, vec![1, large + 1], vec![3, large, large, 1], vec![2, 1], vec![1, 2, 3]];
    for head in heads {
        run(async {
            let mut world = open_world();
            let (mut rogue, _) = Rogue::new(&mut world).await;
            let mut stream = rogue.enter(&mut world).await;
            rogue.move_there();
            let content: Vec<u8> =
                head.iter().flat_map(|number| u32::try_from(*number).unwrap().to_le_bytes()).collect();
            stream.write_all(&rogue.sized(&content)).unwrap();
            world.until(|acceptor| acceptor.counters().bulk_lost == 1).await;
            world.check().await;
        });
    }
}

/// Who does not read takes a bounded part of the sender's memory.
#[test]
fn what_is_never_taken_is_bounded() {
    run(async {
        let mut world = open_world();
        let (mut rogue, hello) = Rogue::new(&mut world).await;
        let _stream = rogue.enter(&mut world).await;
        let message = large(1 << 20, 1);
        let taken = (0..).take_while(|_| world.acceptor.send(hello.conn, &message).is_ok()).count();
        let waiting = usize::try_from(HIGH_WATER).unwrap();
        // Beyond those that wait, what the system holds.
        assert!((waiting..waiting + 64).contains(&taken), "{taken}");
        assert_eq!(world.acceptor.send(hello.conn, &message), Err(SendError::Full));
        world.check().await;
    });
}
