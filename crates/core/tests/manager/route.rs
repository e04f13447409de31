//! The routing table: seats in, how many each gets out.

use bursa_core::manager::route::{Seat, plan};

fn seat(room: usize, open: usize, slots: usize, warm: usize) -> Seat {
    Seat { room, open, slots, warm }
}

#[test]
fn table() {
    let table: &[(&str, Vec<Seat>, usize, Vec<usize>)] = &[
        ("nobody", vec![], 3, vec![]),
        ("nothing", vec![seat(4, 0, 4, 0)], 0, vec![0]),
        ("warm first", vec![seat(4, 0, 4, 0), seat(4, 0, 4, 1)], 1, vec![0, 1]),
        ("most warm", vec![seat(4, 0, 4, 1), seat(4, 0, 4, 3), seat(4, 0, 4, 2)], 1, vec![0, 1, 0]),
        ("warm, then free", vec![seat(8, 0, 4, 0), seat(8, 0, 4, 2)], 3, vec![1, 2]),
        ("most free", vec![seat(8, 3, 4, 0), seat(8, 1, 4, 0)], 1, vec![0, 1]),
        ("first of equals", vec![seat(8, 0, 4, 0), seat(8, 0, 4, 0)], 1, vec![1, 0]),
        ("free before queues", vec![seat(90, 4, 4, 0), seat(4, 0, 4, 0)], 4, vec![0, 4]),
        ("queues share by slots", vec![seat(90, 2, 2, 0), seat(90, 4, 4, 0)], 6, vec![2, 4]),
        ("never beyond room", vec![seat(1, 4, 4, 0), seat(2, 4, 4, 0)], 9, vec![1, 2]),
        ("a queue above half is left alone", vec![seat(10, 94, 4, 0)], 5, vec![0]),
        ("a queue below half is filled", vec![seat(60, 44, 4, 0)], 100, vec![60]),
        ("full is full", vec![seat(0, 8, 4, 0)], 1, vec![0]),
        ("warm beyond slots is stale", vec![seat(8, 4, 4, 4), seat(8, 0, 4, 0)], 1, vec![0, 1]),
    ];
    for (name, seats, waiting, expected) in table {
        let mut seats = seats.clone();
        assert_eq!(&plan(&mut seats, *waiting), expected, "{name}");
    }
}

#[test]
fn every_attempt_that_fits_below_half_is_given_once() {
    let mut seats = vec![seat(512, 0, 1, 0); 37];
    let given = plan(&mut seats, 10_000);
    assert_eq!(given.iter().sum::<usize>(), 10_000);
    assert!(given.iter().all(|n| (240..=280).contains(n)), "{given:?}");
}
