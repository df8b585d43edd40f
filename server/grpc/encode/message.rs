//! A message on its way to the socket: what is a session's own around what all share, gathered, not copied.

use std::io::IoSlice;
use std::sync::Arc;

use bytes::{Buf, Bytes};

use crate::grpc::transport::response_budget::BudgetCharge;
use crate::hub::session::DeliveryTimer;

/// The bytes of one gRPC message, prefix included. HTTP/2 cuts it into frames and hands the slices of each to one write.
#[derive(Debug, Default)]
pub struct EncodedMessage {
    head: Bytes,
    shared: Arc<[Bytes]>,
    tail: Bytes,
    /// The part that is being read: the head, one of the shared ones, or the tail.
    part: usize,
    /// How much of it has been read.
    read: usize,
    remaining: usize,
    /// What its exchange is charged for it.
    charge: Option<BudgetCharge>,
    /// Completed with the last byte.
    timer: Option<DeliveryTimer>,
}

impl From<Bytes> for EncodedMessage {
    fn from(bytes: Bytes) -> Self {
        Self::new(bytes, Arc::default(), Bytes::new())
    }
}

impl EncodedMessage {
    /// Head, shared parts, tail.
    pub fn new(head: Bytes, shared: Arc<[Bytes]>, tail: Bytes) -> Self {
        let remaining = head.len() + shared.iter().map(Bytes::len).sum::<usize>() + tail.len();
        Self { head, shared, tail, part: 0, read: 0, remaining, charge: None, timer: None }
    }

    /// Measures its delivery: HTTP/2 advances over bytes that the socket has accepted.
    pub fn timed(self, timer: Option<DeliveryTimer>) -> Self {
        Self { timer: timer.map(DeliveryTimer::assembled), ..self }
    }

    /// A message that is charged until it is sent.
    pub fn charged(bytes: Bytes, charge: Option<BudgetCharge>) -> Self {
        Self { charge, ..Self::from(bytes) }
    }

    fn part(&self, at: usize) -> Option<&[u8]> {
        match at.checked_sub(1) {
            None => Some(&self.head),
            Some(at) if at < self.shared.len() => Some(&self.shared[at]),
            Some(at) if at == self.shared.len() => Some(&self.tail),
            Some(_) => None,
        }
    }

    /// What is left of each part.
    fn remaining_parts(&self) -> impl Iterator<Item = &[u8]> {
        let parts = (self.part..).map_while(|at| self.part(at));
        let read = std::iter::once(self.read).chain(std::iter::repeat(0));
        parts.zip(read).map(|(part, read)| &part[read..]).filter(|left| !left.is_empty())
    }
}

impl Buf for EncodedMessage {
    fn remaining(&self) -> usize {
        self.remaining
    }

    fn chunk(&self) -> &[u8] {
        self.remaining_parts().next().unwrap_or_default()
    }

    fn advance(&mut self, mut count: usize) {
        assert!(count <= self.remaining, "more than there is");
        self.remaining -= count;
        if let Some(charge) = &mut self.charge {
            charge.sent(count);
        }
        if self.remaining == 0 {
            self.timer.take().into_iter().for_each(DeliveryTimer::complete);
        }
        while let Some(left) = self.part(self.part).map(|part| part.len() - self.read) {
            if count < left {
                self.read += count;
                return;
            }
            count -= left;
            (self.part, self.read) = (self.part + 1, 0);
        }
    }

    fn chunks_vectored<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let filled = slices.iter_mut().zip(self.remaining_parts()).map(|(slice, left)| *slice = IoSlice::new(left));
        filled.count()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::clock::Clock;
    use crate::hub::Config;
    use crate::hub::test_util::new_hub;

    /// A message that its client never reads is not counted, however long it waits.
    #[test]
    fn delivery_is_counted_with_last_byte() {
        let (hub, _writer) = new_hub(Config::default(), Clock::system());
        let timer = || Some(DeliveryTimer::new(hub.clone(), hub.clock().moment()));
        let message = || EncodedMessage::new("head".into(), [Bytes::from("shared")].into(), "tail".into());
        let mut counted = message().timed(timer());
        counted.advance(13);
        assert_eq!(hub.metrics().delivery.count(), 0);
        counted.advance(1);
        assert_eq!(hub.metrics().delivery.count(), 1);
        let mut unread = message().timed(timer());
        unread.advance(13);
        drop((unread, counted));
        assert_eq!(hub.metrics().delivery.count(), 1);
    }

    proptest! {
        #[test]
        fn it_reads_as_its_parts_behind_one_another(
            parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..9), 2..7),
            steps in prop::collection::vec(1_usize..12, 1..60),
        ) {
            let all = parts.concat();
            let mut parts = parts.into_iter().map(Bytes::from);
            let (head, tail) = (parts.next().expect("two"), parts.next().expect("two"));
            let whole = [&head[..], &all[head.len() + tail.len()..], &tail[..]].concat();
            let mut message = EncodedMessage::new(head, parts.collect(), tail);
            let mut read: Vec<u8> = Vec::new();
            for step in steps.into_iter().cycle() {
                if !message.has_remaining() {
                    break;
                }
                let mut slices = [IoSlice::new(&[]); 3];
                let filled = message.chunks_vectored(&mut slices);
                let seen = slices[..filled].iter().flat_map(|slice| slice.iter().copied()).collect::<Vec<_>>();
                prop_assert_eq!(&seen[..message.chunk().len()], message.chunk());
                let step = step.min(seen.len());
                read.extend(&seen[..step]);
                message.advance(step);
                prop_assert_eq!(message.remaining(), whole.len() - read.len());
            }
            prop_assert_eq!(read, whole);
        }
    }
}
