//! One page of an ordered list, and the token of the next.

/// The first `size` items after `after`, and a token if there are more. Items lie in the order in
/// which `is_after` calls them later.
pub(super) fn page<T, K>(
    items: Vec<T>,
    after: Option<K>,
    size: usize,
    is_after: impl Fn(&T, &K) -> bool,
    token_of: impl Fn(&T) -> String,
) -> (Vec<T>, String) {
    let left = items
        .into_iter()
        .skip_while(|item| after.as_ref().is_some_and(|after| !is_after(item, after)));
    let mut page: Vec<T> = left.take(size.saturating_add(1)).collect();
    if page.len() <= size {
        return (page, String::new());
    }
    page.truncate(size);
    let token = page.last().map(token_of).unwrap_or_default();
    (page, token)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(after: Option<u64>, size: usize) -> (Vec<u64>, String) {
        page(
            vec![2, 3, 5, 7],
            after,
            size,
            |one, after| one > after,
            u64::to_string,
        )
    }

    #[test]
    fn pages_follow_each_other_without_gap_or_repeat() {
        assert_eq!(numbers(None, 2), (vec![2, 3], "3".to_owned()));
        assert_eq!(numbers(Some(3), 2), (vec![5, 7], String::new()));
        assert_eq!(numbers(Some(4), 1), (vec![5], "5".to_owned()));
        assert_eq!(numbers(Some(7), 2), (vec![], String::new()));
        assert_eq!(numbers(None, 4), (vec![2, 3, 5, 7], String::new()));
    }
}
