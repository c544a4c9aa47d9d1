//! Grouped-query attention over pages of keys and values.
//!
//! No matrix of scores: positions are taken 512 at a time, and what a query gets from each 512, its
//! largest score, its sum and its mixed values, is put together in their order (Milakov and
//! Gimelshein 2018; Dao et al. 2022 and 2023). The 512 lie where they lie in the sequence, so that a
//! query gets the same numbers to the last bit whether they are taken by one core or by several,
//! and whichever queries are asked beside it.

use crate::exponential::exp;
use crate::level::Level;
use crate::page::{HeadPage, PAGE, PageShape};
use crate::pool;
use crate::rows::{Partial, Rows};

/// What is attended to, and how.
pub struct Attention<'a, P> {
    pub shape: PageShape,
    pub heads: usize,
    /// Divides `heads`: so many neighbouring query heads share a key-value head.
    pub key_value_heads: usize,
    /// What scores are multiplied by.
    pub scale: f32,
    pub soft_cap: Option<f32>,
    /// How many of the newest positions a query sees, its own among them; `None`: all.
    pub window: Option<usize>,
    /// Positions before the first query's.
    pub past: usize,
    /// `[tokens, heads, head_dim]`.
    pub queries: &'a [f32],
    /// A key-value head's page by its number; positions of queries are in it already.
    pub page: P,
}

/// Pages that are taken together.
pub(crate) const STRETCH: usize = 8;
/// Rows of queries that a task takes.
const TASK_ROWS: usize = 32;

impl<'a, P: Fn(usize, usize) -> Option<HeadPage<'a>> + Sync> Attention<'_, P> {
    /// The mixed values, `[tokens, heads, head_dim]`.
    pub fn attend(&self) -> Vec<f32> {
        attend_all(std::slice::from_ref(self)).pop().unwrap_or_default()
    }

    /// [`Attention::attend`] with chosen instructions, or with the portable ones where the processor
    /// lacks them.
    pub fn attend_at(&self, level: Level) -> Vec<f32> {
        let level = if Level::available().contains(&level) { level } else { Level::Portable };
        attend_with(level, std::slice::from_ref(self)).pop().unwrap_or_default()
    }

    /// Query heads that share a key-value head.
    fn group(&self) -> usize {
        self.heads / self.key_value_heads.max(1)
    }

    /// The positions that a token's queries see.
    fn visible(&self, token: usize) -> (usize, usize) {
        let end = self.past + token + 1;
        (self.window.map_or(0, |window| end.saturating_sub(window)), end)
    }

    /// Shares out what some tokens of a head have to do: with many tokens there is enough for all
    /// cores, with few each stretch of positions is a task.
    fn tasks(&self, of: usize, tasks: &mut Vec<Task>) {
        let width = self.heads * self.shape.head_dim;
        if width == 0 || self.key_value_heads == 0 {
            return;
        }
        let tokens = self.queries.len() / width;
        let some = (TASK_ROWS / self.group().max(1)).max(1);
        for first in (0..tokens).step_by(some) {
            let count = some.min(tokens - first);
            let stretches =
                (self.visible(first).0 / (PAGE * STRETCH), self.visible(first + count - 1).1.div_ceil(PAGE * STRETCH));
            for head in 0..self.key_value_heads {
                let mut task = Task { of, head, first, count, stretches };
                if tokens * self.group() > TASK_ROWS {
                    tasks.push(task);
                    continue;
                }
                for stretch in stretches.0..stretches.1 {
                    task.stretches = (stretch, stretch + 1);
                    tasks.push(task);
                }
            }
        }
    }

    /// What the task's queries get from its stretches.
    fn run(&self, task: &Task, level: Level) -> Partial {
        let (head_dim, group) = (self.shape.head_dim, self.group());
        let mut queries = Vec::with_capacity(task.count * group * head_dim);
        let mut visible = Vec::with_capacity(task.count * group);
        for token in task.first..task.first + task.count {
            let start = (token * self.heads + task.head * group) * head_dim;
            queries.extend_from_slice(&self.queries[start..start + group * head_dim]);
            visible.extend(std::iter::repeat_n(self.visible(token), group));
        }
        let mut total: Option<Partial> = None;
        for stretch in task.stretches.0..task.stretches.1 {
            let first_page = stretch * STRETCH;
            let pages: Vec<Option<HeadPage<'_>>> =
                (first_page..first_page + STRETCH).map(|page| (self.page)(task.head, page)).collect();
            let partial = Rows {
                level,
                shape: self.shape,
                scale: self.scale,
                soft_cap: self.soft_cap,
                queries: &queries,
                visible: &visible,
                first: first_page * PAGE,
                pages: &pages,
            }
            .attend();
            match &mut total {
                Some(total) => total.add(&partial),
                None => total = Some(partial),
            }
        }
        total.unwrap_or_else(|| Partial::new(visible.len(), self.shape.padded()))
    }
}

/// The mixed values of several sequences, whose work all cores share.
pub fn attend_all<'a, P: Fn(usize, usize) -> Option<HeadPage<'a>> + Sync>(
    sequences: &[Attention<'_, P>],
) -> Vec<Vec<f32>> {
    attend_with(Level::best(), sequences)
}

fn attend_with<'a, P: Fn(usize, usize) -> Option<HeadPage<'a>> + Sync>(
    level: Level,
    sequences: &[Attention<'_, P>],
) -> Vec<Vec<f32>> {
    let mut tasks = Vec::new();
    for (of, sequence) in sequences.iter().enumerate() {
        sequence.tasks(of, &mut tasks);
    }
    let mut partials: Vec<Option<Partial>> = tasks.iter().map(|_| None).collect();
    pool::for_each(tasks.iter().zip(&mut partials), |(task, partial)| {
        *partial = sequences.get(task.of).map(|sequence| sequence.run(task, level));
    });
    let mut outputs: Vec<Vec<f32>> = sequences.iter().map(|sequence| vec![0.0; sequence.queries.len()]).collect();
    let mut done = tasks.iter().zip(partials).peekable();
    while let Some((task, partial)) = done.next() {
        let Some(mut partial) = partial else { continue };
        while let Some((_, Some(more))) = done.next_if(|(next, _)| next.continues(task)) {
            partial.add(&more);
        }
        if let (Some(sequence), Some(output)) = (sequences.get(task.of), outputs.get_mut(task.of)) {
            let (head_dim, group) = (sequence.shape.head_dim, sequence.group());
            for row in 0..task.count * group {
                let (token, head) = (task.first + row / group, task.head * group + row % group);
                let start = (token * sequence.heads + head) * head_dim;
                partial.write(row, &mut output[start..start + head_dim]);
            }
        }
    }
    outputs
}

/// Some tokens of a key-value head, and some stretches of positions.
#[derive(Clone, Copy)]
struct Task {
    /// The sequence.
    of: usize,
    head: usize,
    first: usize,
    count: usize,
    stretches: (usize, usize),
}

impl Task {
    /// Whether this is another stretch for the same queries.
    fn continues(&self, other: &Self) -> bool {
        (self.of, self.head, self.first) == (other.of, other.head, other.first)
    }
}

impl Partial {
    /// Adds what the same queries get from positions further on.
    fn add(&mut self, more: &Self) {
        let width = self.width();
        for row in 0..self.sums.len() {
            // A row that sees nothing there has a sum of zero.
            if more.sums[row] == 0.0 {
                continue;
            }
            if self.sums[row] == 0.0 {
                (self.sums[row], self.largest[row]) = (more.sums[row], more.largest[row]);
                self.mixed[row * width..][..width].copy_from_slice(&more.mixed[row * width..][..width]);
                continue;
            }
            let (ours, theirs) = (self.largest[row], more.largest[row]);
            let largest = if theirs > ours { theirs } else { ours };
            let share = |of: f32| if of == largest { 1.0 } else { exp(of - largest) };
            let (ours, theirs) = (share(ours), share(theirs));
            self.sums[row] = self.sums[row] * ours + more.sums[row] * theirs;
            self.largest[row] = largest;
            let mixed = &mut self.mixed[row * width..][..width];
            for (mixed, more) in mixed.iter_mut().zip(&more.mixed[row * width..]) {
                *mixed = *mixed * ours + more * theirs;
            }
        }
    }

    fn write(&self, row: usize, output: &mut [f32]) {
        let sum = self.sums[row];
        for (output, mixed) in output.iter_mut().zip(&self.mixed[row * self.width()..]) {
            *output = mixed / sum;
        }
    }

    fn width(&self) -> usize {
        self.mixed.len() / self.sums.len().max(1)
    }
}
