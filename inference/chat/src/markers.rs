//! Markers in a text that is still coming.

/// The first of the markers in a text, and where.
pub fn find_first<'m>(text: &str, markers: impl Iterator<Item = &'m str>) -> Option<(usize, &'m str)> {
    markers.filter_map(|marker| Some((text.find(marker)?, marker))).min_by_key(|(position, _)| *position)
}

/// How many of the last bytes of a text may be the beginning of a marker.
pub fn partial_suffix<'m>(text: &str, markers: impl Iterator<Item = &'m str>) -> usize {
    let partial = |marker: &str| {
        let longest = text.len().min(marker.len() - 1);
        (1..=longest).rev().find(|length| {
            let start = text.len() - length;
            text.is_char_boundary(start) && marker.as_bytes().starts_with(&text.as_bytes()[start..])
        })
    };
    markers.filter_map(partial).max().unwrap_or(0)
}
