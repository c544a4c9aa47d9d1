//! Where in a cell a line of the code that evcxr generated for it came from.

/// The cell's line (from 1) that line `number` of `generated` was made of. evcxr copies
/// the cell's lines, in order, among its own and those of earlier cells.
pub fn line_in_cell(generated: &str, number: usize, cell: &str) -> Option<usize> {
    let generated: Vec<&str> = generated.lines().map(str::trim).collect();
    let cell: Vec<&str> = cell.lines().map(str::trim).collect();
    let target = *generated.get(number.checked_sub(1)?)?;
    if target.is_empty() {
        return None;
    }
    // Of equal lines, the one whose neighbours agree most is meant.
    let agreement = |candidate: usize| {
        let agrees = |step: isize| {
            let of = |lines: &[&str], index: usize| {
                index.checked_add_signed(step).and_then(|index| lines.get(index).map(|line| (*line).to_owned()))
            };
            of(&generated, number - 1).is_some_and(|line| of(&cell, candidate) == Some(line))
        };
        (1..=20).take_while(|step: &isize| agrees(-*step)).count()
            + (1..=20).take_while(|step: &isize| agrees(*step)).count()
    };
    let candidates = (0..cell.len()).filter(|index| cell[*index] == target);
    let best = candidates.max_by_key(|candidate| (agreement(*candidate), usize::MAX - candidate))?;
    Some(best + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_lines_are_told_apart_by_their_neighbours() {
        let cell = "fn f() {\n    panic!();\n}\nlet x = 1;\npanic!();\nlet y = 2;";
        let generated = "mod x {}\nfn f() {\n    panic!();\n}\npub fn run() {\nlet x = 1;\npanic!();\nlet y = 2;\n}";
        assert_eq!(line_in_cell(generated, 3, cell), Some(2));
        assert_eq!(line_in_cell(generated, 7, cell), Some(5));
        assert_eq!(line_in_cell(generated, 1, cell), None);
        assert_eq!(line_in_cell(generated, 99, cell), None);
    }
}
