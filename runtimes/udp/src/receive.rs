//! Batched receive: one system call fills many buffers, one buffer may hold many datagrams.
//!
//! Linux joins datagrams of one sender that have one size (GRO) into one buffer, so that each
//! must hold 64 KiB; `stride` says where they part. Every payload handed out is a slice of such a
//! buffer. A buffer is used again when all its slices are gone, and replaced otherwise, so that in
//! steady state nothing is allocated, and only the pages that datagrams really touch are resident.

use std::collections::VecDeque;
use std::io::{self, IoSliceMut};
use std::net::{IpAddr, SocketAddr};

use bytes::{Bytes, BytesMut};
use quinn_udp::{BATCH_SIZE, RecvMeta, UdpSockRef, UdpSocketState};

/// What one buffer must hold: the largest run that the kernel joins.
const BUFFER_LEN: usize = 64 * 1024;

/// One received datagram, as the system tells of it.
#[derive(Debug)]
pub(crate) struct Piece {
    pub(crate) source: SocketAddr,
    pub(crate) destination: Option<IpAddr>,
    pub(crate) payload: Bytes,
}

/// The buffers, and what of the last call was not handed out yet.
#[derive(Debug)]
pub(crate) struct Batch {
    /// To be written by the next call, the first one first.
    empty: VecDeque<BytesMut>,
    /// Written by the last call, with what the system said of each.
    full: Vec<(Bytes, RecvMeta)>,
    /// Which of `full` is next.
    next: usize,
    /// Where in it the next datagram begins.
    offset: usize,
}

impl Batch {
    pub(crate) fn new() -> Batch {
        Batch {
            empty: (0..BATCH_SIZE).map(|_| buffer()).collect(),
            full: Vec::with_capacity(BATCH_SIZE),
            next: 0,
            offset: 0,
        }
    }

    /// Asks the system for more. Only to be called when `pop` gave `None`.
    pub(crate) fn fill(&mut self, state: &UdpSocketState, io: UdpSockRef<'_>) -> io::Result<()> {
        debug_assert!(self.is_empty(), "what was received is handed out first");
        self.reclaim();
        let mut meta = [RecvMeta::default(); BATCH_SIZE];
        let received = {
            let mut buffers = self.empty.iter_mut();
            let mut slices: [IoSliceMut<'_>; BATCH_SIZE] = std::array::from_fn(|_| {
                IoSliceMut::new(buffers.next().expect("one buffer for each place of a batch"))
            });
            state.recv(io, &mut slices, &mut meta)?
        };
        let written = self.empty.drain(..received).map(BytesMut::freeze);
        self.full.extend(written.zip(meta));
        Ok(())
    }

    /// Whether the last call's are all handed out.
    pub(crate) fn is_empty(&self) -> bool {
        self.next == self.full.len()
    }

    /// The next datagram of the last call.
    pub(crate) fn pop(&mut self) -> Option<Piece> {
        let (buffer, meta) = self.full.get(self.next)?;
        // An empty datagram has no stride, and is one datagram all the same.
        let end = meta.len.min(self.offset + meta.stride.max(1));
        let payload = buffer.slice(self.offset.min(end)..end);
        self.offset = end;
        if end == meta.len {
            self.next += 1;
            self.offset = 0;
        }
        Some(Piece { source: meta.addr, destination: meta.dst_ip, payload })
    }

    fn reclaim(&mut self) {
        for (bytes, _) in self.full.drain(..) {
            self.empty.push_front(bytes.try_into_mut().unwrap_or_else(|_| buffer()));
        }
        self.next = 0;
    }
}

/// Zeroed memory straight from the system: pages that no datagram reaches are never touched.
fn buffer() -> BytesMut {
    let mut buffer = BytesMut::zeroed(BUFFER_LEN);
    // A buffer that was split once carries its reference count with it for good. Without one,
    // each freeze and slice would allocate a count and each reuse would free it.
    let _ = buffer.split_off(BUFFER_LEN);
    buffer
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(len: usize, stride: usize) -> Batch {
        let mut batch = Batch::new();
        let mut buffer = batch.empty.pop_front().unwrap();
        for (index, byte) in buffer[..len].iter_mut().enumerate() {
            *byte = u8::try_from(index).unwrap();
        }
        let mut meta = RecvMeta::default();
        meta.len = len;
        meta.stride = stride;
        batch.full.push((buffer.freeze(), meta));
        batch
    }

    fn payloads(batch: &mut Batch) -> Vec<Bytes> {
        std::iter::from_fn(|| batch.pop()).map(|piece| piece.payload).collect()
    }

    #[test]
    fn a_run_is_split_by_its_stride_and_the_last_may_be_shorter() {
        let payloads = payloads(&mut batch(10, 4));
        assert_eq!(payloads, [&[0, 1, 2, 3][..], &[4, 5, 6, 7], &[8, 9]]);
    }

    #[test]
    fn one_datagram_and_an_empty_one_are_one_each() {
        assert_eq!(payloads(&mut batch(3, 3)), [&[0, 1, 2][..]]);
        assert_eq!(payloads(&mut batch(0, 0)), [&[][..]]);
    }

    #[test]
    fn a_buffer_is_used_again_when_its_slices_are_gone_and_replaced_otherwise() {
        let mut batch = batch(4, 2);
        let first = payloads(&mut batch);
        let place = first[0].as_ptr();
        drop(first);
        batch.reclaim();
        assert_eq!(batch.empty.len(), BATCH_SIZE);
        assert_eq!(batch.empty[0].as_ptr(), place, "the same memory");
        assert_eq!(batch.empty[0].len(), BUFFER_LEN, "all of it");

        let mut batch = self::batch(4, 2);
        let kept = payloads(&mut batch);
        batch.reclaim();
        assert_eq!(batch.empty.len(), BATCH_SIZE);
        assert_ne!(batch.empty[0].as_ptr(), kept[0].as_ptr(), "what is still read is not written");
        assert_eq!(kept, [&[0, 1][..], &[2, 3]]);
    }
}
