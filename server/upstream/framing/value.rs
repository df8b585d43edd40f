use super::block::Block;

/// The value, or the line, that is being read.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Value {
    /// Its bytes in earlier pieces.
    pub(super) bytes: u64,
    /// Where it begins in this piece.
    pub(super) start: usize,
    pub(super) depth: u32,
    pub(super) too_deep: bool,
    pub(super) nested_array: bool,
}

impl Value {
    /// A bracket opens.
    pub(super) fn open(&mut self, depth_max: u32) {
        self.depth = self.depth.saturating_add(1);
        self.too_deep |= self.depth > depth_max;
    }

    /// Goes through the brackets of a block; the bytes up to the end of the value, if it ends there.
    #[inline]
    pub(super) fn pass(&mut self, block: &Block, depth_max: u32) -> Option<usize> {
        let mut brackets = block.opens | block.closes;
        while brackets != 0 {
            let at = brackets.trailing_zeros();
            brackets &= brackets - 1;
            if block.opens >> at & 1 == 1 {
                self.open(depth_max);
            } else {
                self.depth -= 1;
                if self.depth == 0 {
                    return Some(at as usize + 1);
                }
            }
        }
        None
    }
}
