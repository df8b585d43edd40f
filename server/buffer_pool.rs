//! Large buffers that are used again: made on one thread and dropped on another, they would go back to the kernel each
//! time, and come from it zeroed.

use std::collections::VecDeque;

use bytes::Bytes;
use parking_lot::Mutex;

/// Buffers that wait to be used again, up to a bound in bytes.
pub struct BufferPool {
    bytes_max: usize,
    spare: Mutex<VecDeque<Vec<u8>>>,
}

/// Lengths are rounded up to this, so that one fits for another that is somewhat longer.
const STEP_BYTES: usize = 8 << 10;

impl BufferPool {
    /// None yet; those that wait are never more than `bytes_max`.
    pub const fn new(bytes_max: usize) -> Self {
        Self { bytes_max, spare: Mutex::new(VecDeque::new()) }
    }

    /// An empty buffer with room for so many bytes, and not for twice as many.
    pub fn acquire(&self, bytes: usize) -> Vec<u8> {
        let wanted = bytes.next_multiple_of(STEP_BYTES);
        let mut spare = self.spare.lock();
        let fits = |buffer: &Vec<u8>| buffer.capacity() >= bytes && buffer.capacity() <= wanted + wanted / 4;
        let found = spare.iter().rposition(fits).and_then(|at| spare.remove(at));
        drop(spare);
        found.unwrap_or_else(|| Vec::with_capacity(wanted))
    }

    /// The bytes of a buffer, which waits to be used again once nobody has them.
    pub fn into_bytes(&'static self, bytes: Vec<u8>) -> Bytes {
        Bytes::from_owner(PooledBuffer { bytes, home: self })
    }

    fn release(&self, mut buffer: Vec<u8>) {
        buffer.clear();
        let mut gone = Vec::new();
        let mut spare = self.spare.lock();
        spare.push_back(buffer);
        let mut bytes: usize = spare.iter().map(Vec::capacity).sum();
        while bytes > self.bytes_max
            && let Some(oldest) = spare.pop_front()
        {
            bytes -= oldest.capacity();
            gone.push(oldest);
        }
        drop(spare);
    }
}

struct PooledBuffer {
    bytes: Vec<u8>,
    home: &'static BufferPool,
}

impl AsRef<[u8]> for PooledBuffer {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for PooledBuffer {
    fn drop(&mut self) {
        self.home.release(std::mem::take(&mut self.bytes));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffer_is_reused_once_its_bytes_are_dropped() {
        static BUFFERS: BufferPool = BufferPool::new(100 << 10);
        let mut buffer = BUFFERS.acquire(60 << 10);
        buffer.extend_from_slice(b"some");
        let place = buffer.as_ptr();
        let bytes = BUFFERS.into_bytes(buffer);
        let part = bytes.slice(1..3);
        drop(bytes);
        let other = BUFFERS.acquire(60 << 10);
        assert_ne!(other.as_ptr(), place, "somebody has it");
        assert_eq!(part, "om");
        drop(part);
        assert!(BUFFERS.acquire(10 << 10).capacity() < 60 << 10, "a short one is not a long one");
        let again = BUFFERS.acquire(62 << 10);
        assert_eq!((again.as_ptr(), again.len()), (place, 0));
    }

    #[test]
    fn those_that_wait_are_bounded() {
        static BUFFERS: BufferPool = BufferPool::new(100 << 10);
        let lent: Vec<_> = (0..9).map(|_| BUFFERS.into_bytes(BUFFERS.acquire(32 << 10))).collect();
        drop(lent);
        assert_eq!(BUFFERS.spare.lock().len(), 3);
        drop(BUFFERS.into_bytes(BUFFERS.acquire(200 << 10)));
        assert!(BUFFERS.spare.lock().iter().map(Vec::capacity).sum::<usize>() <= 100 << 10);
    }
}
