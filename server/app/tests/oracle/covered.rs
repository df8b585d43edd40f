//! An interval that GetCoverage calls complete misses no post of the truth.

use super::delivery::Arrivals;
use crate::app::tests::record::Record;
use crate::app::tests::truth::{Ms, SECOND, UNCERTAINTY};
use crate::app::tests::x::Arrival;

/// Most faults that are reported.
const FAULTS_MAX: usize = 4;

/// Posts of complete intervals that no log has got, although none of them was announced as skipped. A kill loses what was not
/// announced yet.
pub(super) fn check(record: &Record, arrivals: &Arrivals<'_>) -> Vec<String> {
    let is_kept = |it: &Arrival| !record.losses.iter().any(|loss| loss.at >= it.at && loss.kept_to < it.at);
    let is_lost_skip = |it: &Arrival| {
        let until = record.running_until(it.at, record.skips_within(it));
        it.is_ruined && record.losses.iter().any(|loss| (it.at..until).contains(&loss.at))
    };
    let is_absent = |at: usize| {
        let mut own = arrivals.get(&at).into_iter().flatten();
        !own.any(|it| (!it.is_ruined && is_kept(it)) || is_lost_skip(it))
    };
    let inner = |(from, to): &(Ms, Ms)| *from + UNCERTAINTY..*to - UNCERTAINTY;
    let posts = record.posts.iter().enumerate();
    let covered = posts.filter(|(_, post)| record.complete.iter().any(|part| inner(part).contains(&post.created)));
    let absent = covered.filter(|(at, _)| is_absent(*at)).take(FAULTS_MAX);
    let fault = |id: u64, created: Ms| {
        let seconds = (created - record.from) / SECOND;
        format!("coverage: post {id} of {seconds} s is not in the log, and its time is called complete")
    };
    absent.map(|(_, post)| fault(post.id, post.created)).collect()
}
