//! Compares what a subscriber got with what upstream sent.

use std::collections::{HashMap, HashSet};

use powerstream_gateway::model::Spans;
use powerstream_gateway::proto::{Event, Origin, TagFilter};
use powerstream_gateway::simulator::Truth;

use super::filters;

/// What can be wrong with a delivery, with the id of the post.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It matched, and did not come.
    Missing(u64),
    /// It came again.
    Repeated(u64),
    /// It came after one that was sent later.
    OutOfOrder(u64),
    /// It does not match, or was never sent.
    Foreign(u64),
    /// Its payload is another.
    Damaged(u64),
    /// It is told with other rules or tags.
    Mislabelled(u64),
}

/// In which order posts have to come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// As they were sent.
    #[default]
    AsSent,
    /// Live ones as they were sent, the others as they like: one connection at a time.
    OfLive,
    /// As they like: several connections at a time.
    Any,
}

/// What a delivery may differ in from what was sent.
#[derive(Clone, Debug, Default)]
pub struct Allowed {
    /// In which order posts have to come.
    pub order: Order,
    /// Posts that were created here may be missing.
    pub missing: Spans,
    /// What came here, counted from 0, may be a repeat.
    pub repeated: HashSet<usize>,
}

/// The posts that are for a subscriber, in the order they were sent.
pub fn expected(truth: &[Truth], filter: &TagFilter) -> Vec<Truth> {
    truth.iter().filter(|post| filters::takes(filter, &post.rules)).cloned().collect()
}

/// Everything that is wrong with what was got.
pub fn compare(expected: &[Truth], got: &[Event], allowed: &Allowed) -> Vec<Fault> {
    let places: HashMap<u64, usize> = expected.iter().enumerate().map(|(at, post)| (post.post_id.0, at)).collect();
    let (mut faults, mut seen, mut last) = (Vec::new(), HashSet::new(), 0);
    for (number, event) in got.iter().enumerate() {
        let id = event.post_id;
        let Some(&at) = places.get(&id) else {
            faults.push(Fault::Foreign(id));
            continue;
        };
        if !seen.insert(id) {
            if !allowed.repeated.contains(&number) {
                faults.push(Fault::Repeated(id));
            }
            continue;
        }
        let ordered = match allowed.order {
            Order::AsSent => true,
            Order::OfLive => event.origin() == Origin::Live,
            Order::Any => false,
        };
        if ordered {
            if at < last {
                faults.push(Fault::OutOfOrder(id));
            }
            last = last.max(at);
        }
        if event.json.as_bytes() != expected[at].json {
            faults.push(Fault::Damaged(id));
        }
        if !told_as_sent(&expected[at], event) {
            faults.push(Fault::Mislabelled(id));
        }
    }
    let excused = |post: &Truth| seen.contains(&post.post_id.0) || allowed.missing.contains(post.created);
    faults.extend(expected.iter().filter(|post| !excused(post)).map(|post| Fault::Missing(post.post_id.0)));
    faults
}

fn told_as_sent(sent: &Truth, event: &Event) -> bool {
    let rules: Vec<_> = sent.rules.iter().map(|rule| (rule.id.unwrap_or_default(), rule.tag.as_deref())).collect();
    let told: Vec<_> = event.rules.iter().map(|rule| (rule.id, rule.tag.as_deref())).collect();
    let tags: HashSet<_> = sent.rules.iter().filter_map(|rule| rule.tag.as_deref()).collect();
    rules == told && tags == event.tags.iter().map(String::as_str).collect()
}

/// Nothing is missing, repeated, out of order, foreign, damaged or mislabelled.
pub fn assert_exact(who: &str, expected: &[Truth], got: &[Event]) {
    assert_allowed(who, expected, got, &Allowed::default());
}

/// The same, but for what is allowed.
pub fn assert_allowed(who: &str, expected: &[Truth], got: &[Event], allowed: &Allowed) {
    let faults = compare(expected, got, allowed);
    let some = &faults[..faults.len().min(20)];
    let created = |fault: &Fault| match fault {
        Fault::Missing(id) => expected.iter().find(|post| post.post_id.0 == *id).map(|post| post.created.to_string()),
        _ => None,
    };
    let missing: Vec<_> = some.iter().filter_map(created).collect();
    assert!(
        faults.is_empty(),
        "{who}: {} faults in {} posts, first {some:?}, created {missing:?}; allowed is {:?}",
        faults.len(),
        expected.len(),
        allowed.missing,
    );
}

mod tests {
    use powerstream_gateway::model::{PostId, Rule, Span, UnixMillis};
    use powerstream_gateway::proto::MatchedRule;

    use super::*;

    fn sent(id: u64) -> Truth {
        Truth {
            ordinal: id,
            post_id: PostId(id),
            rules: [Rule { id: Some(7), tag: Some("cats".into()) }].into(),
            json: format!("{{\"id\":{id}}}").into(),
            created: UnixMillis(id as i64),
            published: UnixMillis(0),
            datacenter: 0,
        }
    }

    fn came(id: u64) -> Event {
        Event {
            post_id: id,
            json: format!("{{\"id\":{id}}}"),
            tags: vec!["cats".into()],
            rules: vec![MatchedRule { id: 7, tag: Some("cats".into()) }],
            ..Event::default()
        }
    }

    fn check(change: impl FnOnce(&mut Vec<Event>), found: &[Fault]) {
        check_allowed(&Allowed::default(), change, found);
    }

    fn check_allowed(allowed: &Allowed, change: impl FnOnce(&mut Vec<Event>), found: &[Fault]) {
        let expected: Vec<_> = (1..=5).map(sent).collect();
        let mut got: Vec<_> = (1..=5).map(came).collect();
        change(&mut got);
        assert_eq!(compare(&expected, &got, allowed), found);
    }

    #[test]
    fn the_oracle_notices_each_fault() {
        check(|_| (), &[]);
        check(|got| drop(got.remove(2)), &[Fault::Missing(3)]);
        check(|got| got.push(came(3)), &[Fault::Repeated(3)]);
        check(|got| got.swap(1, 2), &[Fault::OutOfOrder(2)]);
        check(|got| got.insert(2, came(9)), &[Fault::Foreign(9)]);
        check(|got| got[2].json = "{\"id\":4}".into(), &[Fault::Damaged(3)]);
        check(|got| got[2].tags.clear(), &[Fault::Mislabelled(3)]);
        check(|got| got[2].rules[0].id = 8, &[Fault::Mislabelled(3)]);
    }

    #[test]
    fn the_oracle_excuses_only_what_is_allowed() {
        let live = Allowed { order: Order::OfLive, ..Allowed::default() };
        let of = |origin: Origin| {
            move |got: &mut Vec<Event>| {
                got.iter_mut().for_each(|event| event.set_origin(Origin::Live));
                got[2].set_origin(origin);
                got.swap(1, 2);
            }
        };
        check_allowed(&live, of(Origin::Backfill), &[]);
        check_allowed(&live, of(Origin::Live), &[Fault::OutOfOrder(2)]);
        let repeats = Allowed { repeated: [5].into(), ..Allowed::default() };
        check_allowed(&repeats, |got| got.push(came(3)), &[]);
        check_allowed(&repeats, |got| got.extend([came(3), came(4)]), &[Fault::Repeated(4)]);
        let hole = |from, to| [Span::new(UnixMillis(from), UnixMillis(to))].into_iter().collect();
        let missing = Allowed { missing: hole(0, 3), ..Allowed::default() };
        check_allowed(&missing, |got| drop(got.drain(1..3)), &[Fault::Missing(3)]);
    }

    #[test]
    fn the_oracle_expects_only_what_the_filter_takes() {
        let truth = [sent(1), sent(2)];
        assert_eq!(expected(&truth, &filters::any(&["cats"])), truth);
        assert_eq!(expected(&truth, &filters::any(&["dogs"])), []);
    }
}
