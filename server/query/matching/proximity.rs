//! Words near each other.

use crate::query::text::tokens::TokenText;

/// True if each word is at most `distance` tokens after the word before it; in the other order, two fewer.
pub(super) fn occurs_in(text: &TokenText, words: &TokenText, distance: usize) -> bool {
    let mut words = words.iter();
    let Some(first) = words.next() else { return false };
    let mut places: Vec<usize> = (0..text.len()).filter(|at| text.get(*at) == Some(first)).collect();
    for word in words {
        let is_near = |at: usize| {
            places.iter().any(|last| {
                let (after, before) = (at.saturating_sub(*last), last.saturating_sub(at));
                (1..=distance).contains(&after) || (1..=distance.saturating_sub(2)).contains(&before)
            })
        };
        places = (0..text.len()).filter(|at| text.get(*at) == Some(word) && is_near(*at)).collect();
    }
    !places.is_empty()
}
