//! Groups, aggregates, conditions on groups, superlatives.

use rand::Rng;
use rand::seq::IndexedRandom;

use super::{Query, WorldColumn};
use crate::starter::generator::Want;
use crate::starter::notation::Keyword;
use crate::starter::phrases::expand_template;
use crate::starter::worlds::ColumnKind;

impl Query<'_> {
    pub(super) fn grouping(&mut self, periods: bool) -> Option<(Vec<Want>, String)> {
        if periods && self.random.random_bool(0.2) {
            let column = self.column(&[ColumnKind::Date])?;
            let (keyword, word) = *[
                (Keyword::Month, "month"),
                (Keyword::Month, "month"),
                (Keyword::Month, "month"),
                (Keyword::Year, "year"),
                (Keyword::Year, "year"),
                (Keyword::Quarter, "quarter"),
                (Keyword::Week, "week"),
                (Keyword::Day, "day"),
            ]
            .choose(self.random)?;
            let words = if self.random.random_bool(0.3) {
                format!("{word} of {}", self.column_words(&column))
            } else {
                word.to_owned()
            };
            return Some((
                vec![Want::Keyword(keyword), Want::Column { table: self.table.name.clone(), name: column.name }],
                words,
            ));
        }
        let kind = if self.random.random_bool(0.06) { ColumnKind::Flag } else { ColumnKind::Text };
        let column = self.column(&[kind])?;
        let words = self.column_words(&column);
        Some((vec![Want::Column { table: self.table.name.clone(), name: column.name }], words))
    }

    pub(super) fn aggregate(&mut self) -> Option<(Vec<Want>, String)> {
        let (section, keyword) = *[
            ("a.count", Keyword::Count),
            ("a.sum", Keyword::Sum),
            ("a.sum", Keyword::Sum),
            ("a.average", Keyword::Average),
            ("a.average", Keyword::Average),
            ("a.minimum", Keyword::Minimum),
            ("a.maximum", Keyword::Maximum),
        ]
        .choose(self.random)?;
        let column = if keyword == Keyword::Count { None } else { Some(self.column(&[ColumnKind::Number])?) };
        let column_words = column.as_ref().map(|column| self.column_words(column)).unwrap_or_default();
        let table_words = self.table_words(true);
        let words = self.phrases.expand(section, self.random, &mut |slot| {
            if slot == "C" { column_words.clone() } else { table_words.clone() }
        });
        let mut call = vec![Want::Keyword(keyword)];
        call.extend(column.map(|column| Want::Column { table: self.table.name.clone(), name: column.name }));
        Some((call, words))
    }

    /// Two or three aggregates side by side.
    pub(super) fn several(&mut self) -> Option<(Vec<Want>, String)> {
        const LISTS: &[(&str, &[Keyword])] = &[
            (
                "{minimum|min|lowest|smallest} and {maximum|max|highest|largest} <C>",
                &[Keyword::Minimum, Keyword::Maximum],
            ),
            (
                "{highest|maximum|max|largest|biggest} and {lowest|minimum|min|smallest} <C>",
                &[Keyword::Maximum, Keyword::Minimum],
            ),
            ("{total|sum of|combined|overall} and {average|mean|avg} <C>", &[Keyword::Sum, Keyword::Average]),
            ("{average|mean|avg} and {total|summed|combined|sum of} <C>", &[Keyword::Average, Keyword::Sum]),
            ("{average|mean|avg} and {highest|maximum|max|largest} <C>", &[Keyword::Average, Keyword::Maximum]),
            (
                "{min|minimum|lowest}, {max|maximum|highest} and {average|avg|mean} <C>",
                &[Keyword::Minimum, Keyword::Maximum, Keyword::Average],
            ),
            ("{number|count} of <T> and {|the|their} {total|overall|combined} <C>", &[Keyword::Count, Keyword::Sum]),
            ("{number|count} of <T> and {|the|their} {average|mean|avg} <C>", &[Keyword::Count, Keyword::Average]),
            ("how many <T> and {what|which|the} {average|mean} <C>", &[Keyword::Count, Keyword::Average]),
            ("how many <T> and how much <C> in total", &[Keyword::Count, Keyword::Sum]),
            ("{average|mean|avg} <C> and {|the} {number|count} of <T>", &[Keyword::Average, Keyword::Count]),
            ("total <C> and {|the} {number|count} of <T>", &[Keyword::Sum, Keyword::Count]),
        ];
        let (template, keywords) = LISTS.choose(self.random)?;
        let column = self.column(&[ColumnKind::Number])?;
        let (column_words, table_words) = (self.column_words(&column), self.table_words(true));
        let words = expand_template(template, self.random, &mut |slot| {
            if slot == "C" { column_words.clone() } else { table_words.clone() }
        });
        let mut wants = Vec::new();
        for keyword in *keywords {
            if !wants.is_empty() {
                wants.push(Want::Keyword(Keyword::And));
            }
            wants.push(Want::Keyword(*keyword));
            if *keyword != Keyword::Count {
                wants.push(Want::Column { table: self.table.name.clone(), name: column.name.clone() });
            }
        }
        Some((wants, words))
    }

    /// What a group's aggregate must be.
    pub(super) fn having(&mut self) -> (Vec<Want>, String) {
        let (constant, words) = self.constant();
        let (keyword, compared) = *[
            (Keyword::Above, "more than"),
            (Keyword::Above, "over"),
            (Keyword::Above, "above"),
            (Keyword::Above, "greater than"),
            (Keyword::Above, "exceeding"),
            (Keyword::Below, "less than"),
            (Keyword::Below, "fewer than"),
            (Keyword::Below, "under"),
            (Keyword::Below, "below"),
            (Keyword::AtLeast, "at least"),
            (Keyword::AtMost, "at most"),
            (Keyword::Is, "exactly"),
        ]
        .choose(self.random)
        .unwrap_or(&(Keyword::Above, "over"));
        (
            vec![Want::Keyword(Keyword::Having), Want::Keyword(keyword), Want::Constant(constant)],
            format!("{compared} {words}"),
        )
    }

    pub(super) fn superlative(&mut self, column: &WorldColumn, highest: bool) -> Option<String> {
        let own = if highest { &column.highest } else { &column.lowest };
        own.choose(self.random).cloned()
    }
}
