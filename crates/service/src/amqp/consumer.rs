//! One consumer of one group's results: what was sent and not acknowledged, and how far it is.

use bursa_core::id::GroupId;
use bursa_core::limits;
use std::collections::VecDeque;

/// A message on its way.
#[derive(Debug, Clone, Copy)]
struct Sent {
    /// Its number on the channel.
    delivery: u64,
    /// The result's number among the user's.
    place: u64,
    bytes: usize,
}

/// What a client consumes.
#[derive(Debug)]
pub(super) struct Consumer {
    pub(super) tag: String,
    pub(super) group: GroupId,
    /// Messages need no acknowledgement.
    no_ack: bool,
    /// The last result looked at.
    pub(super) cursor: u64,
    sent: VecDeque<Sent>,
    bytes: usize,
}

impl Consumer {
    pub(super) fn new(tag: String, group: GroupId, no_ack: bool, cursor: u64) -> Self {
        Self { tag, group, no_ack, cursor, sent: VecDeque::new(), bytes: 0 }
    }

    /// Whether more may be sent before something is acknowledged.
    pub(super) fn has_room(&self) -> bool {
        self.sent.len() < limits::AMQP_UNACKED && self.bytes < limits::ANSWER_BYTES
    }

    pub(super) fn sent(&mut self, delivery: u64, place: u64, bytes: usize) {
        if !self.no_ack {
            self.sent.push_back(Sent { delivery, place, bytes });
            self.bytes += bytes;
        }
    }

    /// Takes an acknowledgement, or a refusal: what the client cannot read it will not read the next time either.
    pub(super) fn settle(&mut self, delivery: u64, multiple: bool) {
        self.sent.retain(|sent| {
            let settled = if multiple { sent.delivery <= delivery } else { sent.delivery == delivery };
            if settled {
                self.bytes -= sent.bytes;
            }
            !settled
        });
    }

    /// All results up to here were acknowledged.
    pub(super) fn settled(&self) -> u64 {
        self.sent.front().map_or(self.cursor, |oldest| oldest.place - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn consumer() -> Consumer {
        let mut consumer = Consumer::new("t".into(), GroupId::from_bytes([1; 16]), false, 10);
        for n in 1..=4 {
            consumer.cursor = 10 + n;
            consumer.sent(n, 10 + n, 100);
        }
        consumer
    }

    #[test]
    fn what_is_not_acknowledged_holds_the_place() {
        let mut consumer = consumer();
        assert_eq!(consumer.settled(), 10);
        consumer.settle(2, false);
        assert_eq!(consumer.settled(), 10);
        consumer.settle(1, false);
        assert_eq!(consumer.settled(), 12);
        consumer.settle(4, true);
        assert_eq!(consumer.settled(), 14);
    }

    #[test]
    fn bytes_under_way_are_bounded() {
        let mut consumer = consumer();
        consumer.sent(5, 15, limits::ANSWER_BYTES);
        assert!(!consumer.has_room());
        consumer.settle(5, true);
        assert!(consumer.has_room());
    }
}
