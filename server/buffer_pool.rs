//! Pool of large buffers. A buffer that is allocated on one thread and dropped on another would return to the kernel
//! each time, and be zeroed when it is allocated again.

use std::collections::VecDeque;

use bytes::Bytes;
use parking_lot::Mutex;

/// Pool of spare buffers, bounded in bytes.
pub struct BufferPool {
    bytes_max: usize,
    spare: Mutex<VecDeque<Vec<u8>>>,
}

/// Capacities are rounded up to this, so that a buffer can be reused for somewhat longer content.
const STEP_BYTES: usize = 8 << 10;

impl BufferPool {
    /// Creates an empty pool; spare buffers take at most `bytes_max`.
    pub const fn new(bytes_max: usize) -> Self {
        Self { bytes_max, spare: Mutex::new(VecDeque::new()) }
    }

    /// Returns an empty buffer with at least this capacity, and less than twice as much.
    pub fn acquire(&self, bytes: usize) -> Vec<u8> {
        let wanted = bytes.next_multiple_of(STEP_BYTES);
        let mut spare = self.spare.lock();
        let fits = |buffer: &Vec<u8>| buffer.capacity() >= bytes && buffer.capacity() <= wanted + wanted / 4;
        let found = spare.iter().rposition(fits).and_then(|at| spare.remove(at));
        drop(spare);
        found.unwrap_or_else(|| Vec::with_capacity(wanted))
    }

    /// Converts a buffer to `Bytes`; it returns to the pool when the last clone is dropped.
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
        assert_ne!(other.as_ptr(), place, "the first buffer is in use");
        assert_eq!(part, "om");
        drop(part);
        assert!(BUFFERS.acquire(10 << 10).capacity() < 60 << 10, "a short request gets no long buffer");
        let again = BUFFERS.acquire(62 << 10);
        assert_eq!((again.as_ptr(), again.len()), (place, 0));
    }

    #[test]
    fn spare_buffers_are_bounded() {
        static BUFFERS: BufferPool = BufferPool::new(100 << 10);
        let lent: Vec<_> = (0..9).map(|_| BUFFERS.into_bytes(BUFFERS.acquire(32 << 10))).collect();
        drop(lent);
        assert_eq!(BUFFERS.spare.lock().len(), 3);
        drop(BUFFERS.into_bytes(BUFFERS.acquire(200 << 10)));
        assert!(BUFFERS.spare.lock().iter().map(Vec::capacity).sum::<usize>() <= 100 << 10);
    }
}
