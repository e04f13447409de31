//! The routing table: seats and wants in, what goes where out; and what holds for any of them.

use bursa_core::manager::route::{Gift, Place, Routing, Seat, Share, Want, plan};
use bursa_core::rng::Rng;
use proptest::prelude::*;

/// A seat of one container: `warm` of its workers are idle.
type One = (usize, usize, usize, usize);

fn one(seats: &[One], waiting: usize) -> Vec<usize> {
    let seat = |&(room, open, slots, warm): &One| {
        let unused = slots.saturating_sub(open + warm);
        Seat { room, open, slots, unused }
    };
    let share = |&(_, open, _, warm): &One| Share { workers: open + warm, open, barred: false };
    let mut all: Vec<Seat> = seats.iter().map(seat).collect();
    let mut wants = [Want { waiting, due: waiting, at: seats.iter().map(share).collect() }];
    let mut given = vec![0; seats.len()];
    for gift in plan(Routing::Soft, &mut all, &mut wants, &mut Rng::new(1)) {
        given[gift.seat] += gift.count;
    }
    given
}

#[test]
fn one_container() {
    let table: &[(&str, Vec<One>, usize, Vec<usize>)] = &[
        ("nobody", vec![], 3, vec![]),
        ("nothing", vec![(4, 0, 4, 0)], 0, vec![0]),
        ("warm first", vec![(4, 0, 4, 0), (4, 0, 4, 1)], 1, vec![0, 1]),
        ("most warm", vec![(4, 0, 4, 1), (4, 0, 4, 3), (4, 0, 4, 2)], 1, vec![0, 1, 0]),
        ("warm, then free", vec![(8, 0, 4, 0), (8, 0, 4, 2)], 3, vec![0, 3]),
        ("most free", vec![(8, 3, 4, 0), (8, 1, 4, 0)], 1, vec![0, 1]),
        ("first of equals", vec![(8, 0, 4, 0), (8, 0, 4, 0)], 1, vec![1, 0]),
        ("free before queues", vec![(90, 4, 4, 0), (4, 0, 4, 0)], 4, vec![0, 4]),
        ("queues share by slots", vec![(90, 2, 2, 0), (90, 4, 4, 0)], 6, vec![2, 4]),
        ("never beyond room", vec![(1, 4, 4, 0), (2, 4, 4, 0)], 9, vec![1, 2]),
        ("a queue above half is left alone", vec![(10, 94, 4, 0)], 5, vec![0]),
        ("a queue below half is filled", vec![(60, 44, 4, 0)], 100, vec![60]),
        ("full is full", vec![(0, 8, 4, 0)], 1, vec![0]),
        ("warm beyond slots is stale", vec![(8, 4, 4, 4), (8, 0, 4, 0)], 1, vec![0, 1]),
    ];
    for (name, seats, waiting, expected) in table {
        assert_eq!(&one(seats, *waiting), expected, "{name}");
    }
}

#[test]
fn every_attempt_that_fits_below_half_is_given_once() {
    let given = one(&[(512, 0, 1, 0); 37], 10_000);
    assert_eq!(given.iter().sum::<usize>(), 10_000);
    assert!(given.iter().all(|n| (240..=280).contains(n)), "{given:?}");
}

/// Slots of each seat, then for each container what waits and its `(workers, attempts)` at each seat.
fn several(routing: Routing, slots: &[usize], wants: &[Waits]) -> (Vec<Gift>, Vec<Seat>, Vec<Want>) {
    let seat = |(index, slots): (usize, &usize)| {
        let (mut open, mut used) = (0, 0);
        for (_, at) in wants {
            open += at[index].1;
            used += at[index].0.max(at[index].1);
        }
        Seat { room: slots.saturating_sub(open), open, slots: *slots, unused: slots.saturating_sub(used) }
    };
    let mut seats: Vec<Seat> = slots.iter().enumerate().map(seat).collect();
    let share = |&(workers, open): &(usize, usize)| Share { workers, open, barred: false };
    let want = |(waiting, at): &(usize, Vec<(usize, usize)>)| Want {
        waiting: *waiting,
        due: *waiting,
        at: at.iter().map(share).collect(),
    };
    let mut wants: Vec<Want> = wants.iter().map(want).collect();
    let gifts = plan(routing, &mut seats, &mut wants, &mut Rng::new(1));
    (gifts, seats, wants)
}

/// What waits for a container, and its `(workers, attempts)` at each seat.
type Waits = (usize, Vec<(usize, usize)>);

/// `(container, executor, how many, where)`.
type Told = (usize, usize, usize, Place);

#[test]
fn several_containers() {
    use Place::{Evicting, Queue, Unused, Warm};
    use Routing::{Hard, Soft};
    type Case = (&'static str, Routing, Vec<usize>, Vec<Waits>, Vec<Told>);
    let table: Vec<Case> = vec![
        (
            "to its own workers",
            Soft,
            vec![2, 2],
            vec![(1, vec![(0, 0), (2, 0)]), (1, vec![(2, 0), (0, 0)])],
            vec![(0, 1, 1, Warm), (1, 0, 1, Warm)],
        ),
        (
            "a slot without a worker before one with another's",
            Soft,
            vec![2, 2],
            vec![(1, vec![(0, 0), (0, 0)]), (0, vec![(2, 0), (1, 0)])],
            vec![(0, 1, 1, Unused)],
        ),
        (
            "in another's place when nothing else is free",
            Soft,
            vec![2],
            vec![(1, vec![(0, 0)]), (0, vec![(1, 0)]), (0, vec![(1, 1)])],
            vec![(0, 0, 1, Evicting)],
        ),
        (
            "shares by what waits",
            Soft,
            vec![8],
            vec![(30, vec![(0, 0)]), (10, vec![(0, 0)])],
            vec![(0, 0, 3, Unused), (1, 0, 1, Unused), (0, 0, 3, Unused), (1, 0, 1, Unused)],
        ),
        (
            "a backlog leaves the one free slot to who has none",
            Soft,
            vec![4],
            vec![(9, vec![(4, 3)]), (1, vec![(0, 0)])],
            vec![(1, 0, 1, Evicting)],
        ),
        (
            "at home when it must be made",
            Soft,
            vec![4, 8],
            vec![(1, vec![(2, 2), (0, 0)]), (0, vec![(0, 0), (0, 0)])],
            vec![(0, 0, 1, Unused)],
        ),
        ("hard: not beside others", Hard, vec![4], vec![(1, vec![(0, 0)]), (0, vec![(1, 1)])], vec![]),
        (
            "hard: one that has nothing changes",
            Hard,
            vec![4],
            vec![(1, vec![(0, 0)]), (0, vec![(4, 0)])],
            vec![(0, 0, 1, Evicting)],
        ),
        (
            "hard: the one that is soonest free is left alone",
            Hard,
            vec![4, 4],
            vec![(1, vec![(0, 0), (0, 0)]), (9, vec![(4, 3), (4, 2)])],
            vec![(1, 0, 1, Warm)],
        ),
    ];
    for (name, routing, slots, wants, expected) in table {
        let (gifts, ..) = several(routing, &slots, &wants);
        let told: Vec<Told> =
            gifts.iter().map(|gift| (gift.want, gift.seat, gift.count, gift.place)).collect();
        assert_eq!(told, expected, "{name}");
        assert!(told.iter().all(|gift| gift.3 != Queue), "{name}: the seats have no room for queues");
    }
}

/// Seats' slots, and for each of the containers what waits and what it has where; never more than there are slots.
fn worlds() -> impl Strategy<Value = (Vec<usize>, Vec<Waits>)> {
    (1..6_usize, 1..5_usize).prop_flat_map(|(seats, wants)| {
        let slots = prop::collection::vec(1..9_usize, seats);
        let at = prop::collection::vec((0..4_usize, 0..4_usize), seats);
        (slots, prop::collection::vec((0..12_usize, at), wants)).prop_map(|(slots, mut wants)| {
            for (index, slots) in slots.iter().enumerate() {
                let mut left = *slots;
                for (_, at) in &mut wants {
                    let (workers, open) = at[index];
                    at[index] = (workers.min(left), open.min(left));
                    left -= at[index].0.max(at[index].1);
                }
            }
            (slots, wants)
        })
    })
}

proptest! {
    /// Work conserving: no attempt waits while a slot is free.
    #[test]
    fn nothing_waits_beside_a_free_slot((slots, wants) in worlds()) {
        for routing in [Routing::Soft, Routing::Random] {
            let waiting: usize = wants.iter().map(|want| want.0).sum();
            let open: usize = wants.iter().flat_map(|want| &want.1).map(|at| at.1).sum();
            let (gifts, ..) = several(routing, &slots, &wants);
            let given: usize = gifts.iter().map(|gift| gift.count).sum();
            prop_assert_eq!(given, waiting.min(slots.iter().sum::<usize>() - open));
        }
    }

    /// No worker makes room while a slot has none, and no container that has waiting attempts gets more than waits.
    #[test]
    fn nobody_makes_room_beside_an_unused_slot((slots, wants) in worlds()) {
        let (gifts, seats, _) = several(Routing::Soft, &slots, &wants);
        let evicts = gifts.iter().any(|gift| gift.place == Place::Evicting);
        prop_assert!(!evicts || seats.iter().all(|seat| seat.unused.min(seat.slots - seat.open) == 0));
        for (index, (waiting, _)) in wants.iter().enumerate() {
            let got: usize = gifts.iter().filter(|gift| gift.want == index).map(|gift| gift.count).sum();
            prop_assert!(got <= *waiting);
        }
        prop_assert!(seats.iter().all(|seat| seat.open <= seat.slots));
    }

    /// Nobody starves: of those that wait and have nothing anywhere, the first gets the first free slot.
    #[test]
    fn who_has_waited_longest_without_anything_gets_a_slot((slots, wants) in worlds()) {
        let open: usize = wants.iter().flat_map(|want| &want.1).map(|at| at.1).sum();
        let free = slots.iter().sum::<usize>() > open;
        let poor = wants.iter().position(|want| want.0 > 0 && want.1.iter().all(|at| at.1 == 0));
        let (gifts, ..) = several(Routing::Soft, &slots, &wants);
        if let (true, Some(poor)) = (free, poor) {
            prop_assert!(gifts.iter().any(|gift| gift.want == poor));
        }
    }
}
