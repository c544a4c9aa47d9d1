//! Numbers as people read them.

/// `638 MB`, `1.52 GB`: decimal units, as the hub and disk makers count.
pub fn size_text(bytes: u64) -> String {
    scaled(bytes, &["B", "kB", "MB", "GB", "TB", "PB"], " ")
}

/// `22.7M`, `8.03B`: parameters, as model names count them.
pub fn count_text(count: u64) -> String {
    scaled(count, &["", "K", "M", "B", "T", "P"], "")
}

/// Three significant digits and the unit they are of.
fn scaled(number: u64, units: &[&str], space: &str) -> String {
    if number < 1000 {
        return format!("{number}{space}{}", units[0]).trim_end().to_owned();
    }
    let mut value = number as f64;
    let mut unit = 0;
    // 999.5 would be shown as 1000 of the smaller unit.
    while value >= 999.5 && unit + 1 < units.len() {
        value /= 1000.0;
        unit += 1;
    }
    let digits = if value < 9.995 { 2 } else { usize::from(value < 99.95) };
    format!("{value:.digits$}{space}{}", units[unit])
}

#[cfg(test)]
mod tests {
    use super::{count_text, size_text};

    #[test]
    fn sizes_have_three_digits() {
        let sizes = [0, 999, 1000, 999_499, 999_500, 90_868_376, 1_520_000_000, u64::MAX];
        let shown = sizes.map(size_text);
        assert_eq!(shown, ["0 B", "999 B", "1.00 kB", "999 kB", "1.00 MB", "90.9 MB", "1.52 GB", "18447 PB"]);
        assert_eq!([0, 12, 22_713_216, 8_030_261_248].map(count_text), ["0", "12", "22.7M", "8.03B"]);
    }
}
