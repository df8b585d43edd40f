//! The pull of a session: the next frame, and the progress that it reports.

use super::{Frame, Session, SessionEnd};

impl Session {
    /// Returns the next frame, or the end of the session. After the end, every call returns the end again.
    pub async fn next(&mut self) -> Result<Frame, SessionEnd> {
        self.guard.entry().activity.frame_requested();
        let next = self.next_frame().await;
        self.note_progress();
        next
    }

    fn note_progress(&mut self) {
        let now = self.hub.clock().moment();
        self.guard.entry().activity.frame_returned(now, self.cursor, self.last_advance, self.phase());
        self.meter.end = self.ended.as_ref().map(|end| end.ending);
    }
}
