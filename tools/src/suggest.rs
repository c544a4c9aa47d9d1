//! The name someone probably meant.

/// The candidate most like `name`, if any is near enough to be worth saying.
///
/// Case is ignored. A name that one contains in the other (`search` for `search_files`)
/// counts as near; otherwise Jaro-Winkler similarity of at least 0.8 does.
pub fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    const NEAR: f64 = 0.8;
    let wanted = name.to_lowercase();
    if wanted.is_empty() {
        return None;
    }
    let mut best: Option<(f64, &str)> = None;
    for candidate in candidates {
        let lower = candidate.to_lowercase();
        let contained = wanted.len() >= 3 && (lower.contains(&wanted) || (lower.len() >= 3 && wanted.contains(&lower)));
        let similarity = strsim::jaro_winkler(&wanted, &lower).max(if contained { NEAR } else { 0.0 });
        if similarity >= NEAR && best.is_none_or(|(score, _)| similarity > score) {
            best = Some((similarity, candidate));
        }
    }
    best.map(|(_, candidate)| candidate)
}
