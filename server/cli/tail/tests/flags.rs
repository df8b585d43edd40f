//! Flags of `tail`.

use crate::cli::tail::{Args, filter};

/// Repeated flags name tags with a comma, in addition to the lists, in each part of the filter.
#[test]
fn repeated_tags_join_lists_of_tags() {
    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }
    let words = "tail --any-of a,b* --any-of-tag c,d --any-of-tag e --all-of f,g --all-of-tag h,i --none-of j --none-of-tag k,l";
    let line = <Line as clap::Parser>::try_parse_from(words.split(' ')).unwrap_or_else(|error| panic!("{error}"));
    let filter = filter(&line.args);
    assert_eq!(filter.any_of, ["a", "b*", "c,d", "e"]);
    assert_eq!(filter.all_of, ["f", "g", "h,i"]);
    assert_eq!(filter.none_of, ["j", "k,l"]);
}
