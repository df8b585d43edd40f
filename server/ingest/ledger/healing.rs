//! A gap that recovery is to bring.

use serde::{Deserialize, Serialize};

use crate::model::{Gap, GapEvidence, GapState, Span, Spans};

/// A gap that recovery is to bring.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Healing {
    /// What is told of it; it has an end.
    pub(super) gap: Gap,
    /// What has not been brought yet.
    pub(super) missing: Spans,
    /// Posts per second of the account before the gap.
    #[serde(default)]
    pub(super) rate: f64,
}

/// A stretch of a gap that was torn apart.
pub(super) struct Piece {
    pub(super) span: Span,
    pub(super) lost: bool,
}

impl Healing {
    pub(super) fn new(gap: Gap, span: Span, rate: f64) -> Self {
        Self { gap, missing: [span].into_iter().collect(), rate }
    }

    pub(super) fn span(&self) -> Span {
        Span::new(self.gap.window.from, self.gap.window.to.expect("a gap that recovery brings has an end"))
    }

    /// Takes note that a span is complete. True if that changes anything.
    pub(super) fn prove(&mut self, span: Span, evidence: GapEvidence) -> bool {
        if self.missing.within(span).is_empty() {
            return false;
        }
        self.missing.remove(span);
        self.gap.evidence = weaker(self.gap.evidence, evidence);
        match self.missing.first() {
            Some(first) => {
                self.gap.progress = Some(first.from).filter(|from| *from > self.gap.window.from);
            }
            None => {
                self.gap.progress = self.gap.window.to;
                self.gap.state = GapState::Recovered;
            }
        }
        true
    }

    /// The gap in stretches that are lost and stretches that are not, in order.
    pub(super) fn torn(&self, lost: &Spans) -> Vec<Piece> {
        let mut pieces = Vec::new();
        let mut at = self.span().from;
        for span in lost.iter() {
            pieces.push(Piece { span: Span::new(at, span.from), lost: false });
            pieces.push(Piece { span, lost: true });
            at = span.to;
        }
        pieces.push(Piece { span: Span::new(at, self.span().to), lost: false });
        pieces.retain(|piece| !piece.span.is_empty());
        pieces
    }
}

/// What both together rest on: a clean end says less than a message.
fn weaker(one: GapEvidence, other: GapEvidence) -> GapEvidence {
    if one == GapEvidence::CleanEof { one } else { other }
}
