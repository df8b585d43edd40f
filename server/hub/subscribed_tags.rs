//! Which tags open sessions ask for, for operators.

use std::sync::Arc;

use super::filter::Filter;

/// Maximum filters that are compared.
pub(super) const FILTERS_MAX: usize = 2_000;
/// Maximum comparisons of a tag with a filter: about 50 ms.
const STEPS_MAX: usize = 500_000;

/// Returns for each tag whether a session asks for it; `None` if that would take too long to find. `is_whole` is true if these
/// are all filters.
pub(super) fn subscribed<'t>(
    tags: impl Iterator<Item = &'t str>,
    filters: &[Arc<Filter>],
    is_whole: bool,
) -> Vec<Option<bool>> {
    let mut steps = STEPS_MAX;
    let is_asked = |tag: &str| {
        for filter in filters {
            steps = steps.checked_sub(1)?;
            if filter.selects_tag(tag) {
                return Some(true);
            }
        }
        is_whole.then_some(false)
    };
    tags.map(is_asked).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hub::filter::FilterSpec;

    #[test]
    fn tags_that_filters_select_are_subscribed() {
        let filter = |any_of: &[&str], all_of: &[&str], none_of: &[&str], rule_ids: &[u64]| {
            let texts = |terms: &[&str]| terms.iter().map(|term| (*term).to_owned()).collect();
            let spec = FilterSpec {
                any_of: texts(any_of),
                all_of: texts(all_of),
                none_of: texts(none_of),
                rule_ids: rule_ids.to_vec(),
            };
            Arc::new(Filter::new(&spec).expect("a filter"))
        };
        let check = |filters: &[Arc<Filter>], expected: &str| {
            let tags = ["cats", "cats.eu", "dogs"];
            let found = subscribed(tags.into_iter(), filters, true);
            let found: Vec<_> = tags.into_iter().zip(found).filter(|(_, found)| *found == Some(true)).collect();
            let found: Vec<_> = found.into_iter().map(|(tag, _)| tag).collect();
            assert_eq!(found.join(" "), expected, "{filters:?}");
        };
        check(&[], "");
        check(&[filter(&[], &[], &[], &[])], "cats cats.eu dogs");
        check(&[filter(&["cats*"], &[], &["cats.eu"], &[])], "cats");
        check(&[filter(&["cats"], &["dogs"], &[], &[])], "cats");
        check(&[filter(&[], &["dogs"], &[], &[])], "dogs");
        check(&[filter(&[], &[], &[], &[7])], "");
        check(&[filter(&["cats"], &[], &[], &[]), filter(&["dogs"], &[], &[], &[])], "cats dogs");
    }

    #[test]
    fn search_for_subscriptions_is_bounded() {
        let spec = FilterSpec { any_of: vec!["cats".into()], ..FilterSpec::default() };
        let filter = Arc::new(Filter::new(&spec).expect("a filter"));
        let filters: Vec<_> = std::iter::repeat_n(filter, FILTERS_MAX).collect();
        let found = subscribed(std::iter::repeat_n("dogs", 1_000), &filters, true);
        assert_eq!((found[0], found[999]), (Some(false), None));
        assert_eq!(subscribed(["dogs", "cats"].into_iter(), &filters, false), [None, Some(true)]);
    }
}
