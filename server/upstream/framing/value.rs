use super::block::ByteBlock;

/// The value, or the line, that is being scanned.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct PartialValue {
    /// Its bytes in earlier pieces.
    pub(super) bytes: u64,
    /// Its start in this piece.
    pub(super) start: usize,
    pub(super) depth: u32,
    pub(super) too_deep: bool,
    pub(super) nested_array: bool,
    /// Kinds of the open containers, the innermost at bit 0: set for an array. Not exact beyond a depth of 128.
    pub(super) arrays: u128,
    /// The last byte before the current line, or in an earlier piece, that is not white space.
    pub(super) last: u8,
    /// The current line begins with a space or a tab.
    pub(super) indented: bool,
    /// Lines of the value begin without indentation, as in `json.dumps(…, indent=0)`: the start of a line is no
    /// evidence.
    pub(super) unindented: bool,
    /// The previous line is empty, directly after an opening bracket.
    pub(super) empty_line: bool,
    /// The first line that may be a separate message after a truncated value.
    pub(super) candidate: Option<LineCandidate>,
}

/// A line within a value that begins an object or an array without indentation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct LineCandidate {
    /// Bytes of the value before it.
    pub(super) at: u64,
    /// Depth of the value before it.
    depth: u32,
}

/// Why the scan of a block ends early.
pub(super) enum BlockEnd {
    /// The value ends: this many bytes of the block belong to it.
    End(usize),
    /// A line break outside of strings, at this byte.
    Line(usize),
}

impl PartialValue {
    /// Begins a value at this position of the piece.
    pub(super) fn begin(start: usize, nested_array: bool) -> Self {
        let last = if nested_array { b'[' } else { b'{' };
        Self { start, depth: 1, nested_array, arrays: u128::from(nested_array), last, ..Self::default() }
    }

    /// Opens a bracket or a brace.
    pub(super) fn open(&mut self, array: bool, depth_max: u32) {
        self.depth = self.depth.saturating_add(1);
        self.too_deep |= self.depth > depth_max;
        self.arrays = self.arrays << 1 | u128::from(array);
    }

    /// Closes a bracket or a brace. Returns true if the value ends with it.
    pub(super) fn close(&mut self) -> bool {
        self.depth -= 1;
        self.arrays >>= 1;
        self.depth == 0
    }

    /// Processes the brackets of a block, up to the end of the value or of its line.
    #[inline]
    pub(super) fn skip(&mut self, block: &ByteBlock, depth_max: u32) -> Option<BlockEnd> {
        let mut marks = block.opens | block.closes | block.lines;
        while marks != 0 {
            let at = marks.trailing_zeros();
            marks &= marks - 1;
            if block.opens >> at & 1 == 1 {
                self.open(block.arrays >> at & 1 == 1, depth_max);
            } else if block.closes >> at & 1 == 1 {
                if self.close() {
                    return Some(BlockEnd::End(at as usize + 1));
                }
            } else {
                return Some(BlockEnd::Line(at as usize));
            }
        }
        None
    }

    /// Begins a line; `part` are the bytes of the value in this piece before it.
    pub(super) fn begin_line(&mut self, part: &[u8]) {
        self.note_last(part);
        (self.indented, self.empty_line) = (false, false);
    }

    /// Stores the last byte of `part` that is not white space.
    pub(super) fn note_last(&mut self, part: &[u8]) {
        if let Some(last) = part.iter().rev().find(|byte| !byte.is_ascii_whitespace()) {
            self.last = *last;
        }
    }

    /// True if JSON allows this byte after a line break here.
    pub(super) fn continues_with(&self, byte: u8) -> bool {
        let array = self.arrays & 1 == 1;
        let value = matches!(byte, b'"' | b'{' | b'[' | b't' | b'f' | b'n' | b'-' | b'0'..=b'9');
        match self.last {
            b'{' => matches!(byte, b'"' | b'}'),
            b'[' => value || byte == b']',
            b':' => value,
            b',' => byte == b'"' || (value && (array || self.too_deep)),
            _ => match byte {
                b',' => true,
                b']' => array || self.too_deep,
                b':' | b'}' => !array || self.too_deep,
                _ => false,
            },
        }
    }

    /// True if an empty line may belong to an empty array or object.
    pub(super) fn may_be_empty_container(&self) -> bool {
        matches!(self.last, b'[' | b'{') && !self.empty_line
    }

    /// Records an empty line that may be a part of the value, after `bytes` bytes of it.
    pub(super) fn note_empty_line(&mut self, bytes: u64) {
        self.empty_line = true;
        self.candidate.get_or_insert(LineCandidate { at: bytes, depth: self.depth });
    }

    /// Records a line that continues the value, by its first byte, which is after `bytes` bytes of the value.
    pub(super) fn note_line(&mut self, byte: u8, bytes: u64) {
        let opens = matches!(byte, b'{' | b'[') && !self.indented;
        if self.candidate.is_some_and(|candidate| self.depth <= candidate.depth) && !(opens && self.empty_line) {
            // The candidate ended and the value continued: it was a part of the value, and so are lines like it.
            self.candidate = None;
            self.unindented |= !self.empty_line;
        }
        match byte {
            _ if self.indented => {}
            b'{' | b'[' => {
                let evidence = !self.unindented && !self.too_deep && !self.nested_array;
                if evidence && self.candidate.is_none() {
                    self.candidate = Some(LineCandidate { at: bytes, depth: self.depth });
                }
            }
            b'}' | b']' => {}
            _ => self.unindented = true,
        }
    }
}
