//! The pull of a session: the next frame, and the progress that it reports.

use super::{Frame, FrameContent, Phase, Session, SessionEnd};

impl Session {
    /// Returns the next frame, or the end of the session. After the end, every call returns the end again.
    pub async fn next(&mut self) -> Result<Frame, SessionEnd> {
        self.guard.entry().activity.frame_requested();
        let next = self.next_frame().await;
        self.note_progress(next.as_ref().ok());
        next
    }

    fn note_progress(&mut self, frame: Option<&Frame>) {
        let now = self.hub.clock().moment();
        self.guard.entry().activity.frame_returned(now, self.cursor, self.last_advance, self.phase());
        if let Some(FrameContent::Batch(batch)) = frame.map(|frame| &frame.content)
            && batch.chunk.phase == Phase::Live
            && let Some(oldest) = batch.chunk.entries.first()
        {
            self.hub.metrics().delivery.observe(self.hub.clock().at(now).since(oldest.received));
        }
        self.meter.end = self.ended.as_ref().map(|end| end.ending);
    }
}
