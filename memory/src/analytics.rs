//! Figures over everything that was asked, in turns and beside them: tokens, cost, latency, how often memory helped; by day,
//! model, notebook or agent. Columns are Arrow arrays, grouped by Polars.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use polars::prelude::{
    DataFrame, DataType, Expr, IntoLazy, NamedFrom, PolarsError, QuantileMethod, Series, SortMultipleOptions, col, lit,
};

use crate::error::MemoryError;
use crate::memory::Memory;

/// What figures are grouped by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UsageBy {
    /// Of UTC.
    Day,
    Model,
    Notebook,
    Agent,
}

/// The figures of one group.
#[derive(Debug, Clone, PartialEq)]
pub struct Usage {
    /// The day as `2026-11-21`, the model, the notebook or the agent.
    pub group: String,
    pub turns: usize,
    pub prompt_tokens: u64,
    pub completion_tokens: u64,
    /// Those of both that were for calls beside turns: to find facts, ...
    pub beside_turns: u64,
    /// In the currency of the prices; `None` where no model of the group has a price.
    pub cost: Option<f64>,
    /// Of a turn, in milliseconds.
    pub median_latency: f64,
    pub p95_latency: f64,
    /// The part of turns into which something remembered went, 0 to 1.
    pub hit_rate: f64,
}

/// A million tokens' prices: read and written.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Price {
    pub prompt: f64,
    pub completion: f64,
}

/// One column a figure.
#[derive(Default)]
struct Columns {
    group: Vec<String>,
    /// Else it is a call beside turns: it costs, and nobody waited for it.
    turn: Vec<bool>,
    prompt_tokens: Vec<i64>,
    completion_tokens: Vec<i64>,
    milliseconds: Vec<i64>,
    cost: Vec<Option<f64>>,
    hit: Vec<bool>,
}

impl Memory {
    /// Figures of all turns since a time, of every project: they tell nothing of what was said.
    /// Days come in order, other groups by tokens, the most first.
    pub fn usage(
        &self,
        by: UsageBy,
        since: Option<DateTime<Utc>>,
        price: &dyn Fn(&str) -> Option<Price>,
    ) -> Result<Vec<Usage>, MemoryError> {
        let columns = self.columns(by, since, price)?;
        grouped(columns, by).map_err(|error| MemoryError::Figures(error.to_string()))
    }

    fn columns(
        &self,
        by: UsageBy,
        since: Option<DateTime<Utc>>,
        price: &dyn Fn(&str) -> Option<Price>,
    ) -> Result<Columns, MemoryError> {
        let mut state = self.state();
        state.refresh();
        let store = &state.store;
        let conversations = store.rows("SELECT id, agent, notebook FROM conversations", &[], |row| {
            let id: String = row.get(0)?;
            let notebook = store.vault().open_text("conversations.notebook", &id, row.get(2)?)?;
            Ok((id, (row.get::<_, String>(1)?, notebook)))
        })?;
        let conversations: HashMap<String, (String, String)> = conversations.into_iter().collect();
        let since = since.map_or(i64::MIN, |since| since.timestamp_micros());
        let sql = "SELECT conversation, model, strftime(created_at, '%Y-%m-%d'), prompt_tokens, completion_tokens, milliseconds,
                id IN (SELECT turn FROM context_items WHERE kind IN ('fact', 'chunk', 'message') AND dropped IS NULL), true
            FROM turns WHERE epoch_us(created_at) >= ?
            UNION ALL SELECT conversation, model, strftime(called_at, '%Y-%m-%d'), prompt_tokens, completion_tokens, milliseconds, false, false
            FROM model_calls WHERE epoch_us(called_at) >= ?";
        let mut columns = Columns::default();
        store.rows(sql, &[&since, &since], |row| {
            let (conversation, model): (String, String) = (row.get(0)?, row.get(1)?);
            let (read, written): (i64, i64) = (row.get(3)?, row.get(4)?);
            let of_conversation = conversations.get(&conversation);
            let price = price(&model);
            columns
                .cost
                .push(price.map(|price| (read as f64 * price.prompt + written as f64 * price.completion) / 1e6));
            columns.group.push(match by {
                UsageBy::Day => row.get(2)?,
                UsageBy::Model => model,
                UsageBy::Notebook => of_conversation.map_or_else(String::new, |(_, notebook)| notebook.clone()),
                UsageBy::Agent => of_conversation.map_or_else(String::new, |(agent, _)| agent.clone()),
            });
            columns.prompt_tokens.push(read);
            columns.completion_tokens.push(written);
            columns.milliseconds.push(row.get(5)?);
            columns.hit.push(row.get(6)?);
            columns.turn.push(row.get(7)?);
            Ok(())
        })?;
        Ok(columns)
    }
}

fn grouped(columns: Columns, by: UsageBy) -> Result<Vec<Usage>, PolarsError> {
    let height = columns.group.len();
    let frame = DataFrame::new(
        height,
        vec![
            Series::new("group".into(), columns.group).into(),
            Series::new("prompt_tokens".into(), columns.prompt_tokens).into(),
            Series::new("completion_tokens".into(), columns.completion_tokens).into(),
            Series::new("milliseconds".into(), columns.milliseconds).into(),
            Series::new("cost".into(), columns.cost).into(),
            Series::new("hit".into(), columns.hit).into(),
            Series::new("turn".into(), columns.turn).into(),
        ],
    )?;
    let tokens = col("prompt_tokens") + col("completion_tokens");
    let (order, descending) = match by {
        UsageBy::Day => (col("group"), false),
        _ => (tokens, true),
    };
    let real = |expression: Expr| expression.cast(DataType::Float64);
    let of_turns = |name: &str| col(name).filter(col("turn"));
    let figures = frame
        .lazy()
        .group_by([col("group")])
        .agg([
            col("turn").cast(DataType::Int64).sum().alias("turns"),
            col("prompt_tokens").sum(),
            col("completion_tokens").sum(),
            (col("prompt_tokens") + col("completion_tokens")).filter(col("turn").not()).sum().alias("beside"),
            col("cost").sum(),
            col("cost").is_not_null().any(true).alias("priced"),
            real(of_turns("milliseconds").median()).alias("median"),
            real(of_turns("milliseconds").quantile(lit(0.95), QuantileMethod::Linear)).alias("p95"),
            of_turns("hit").cast(DataType::Float64).mean().alias("hits"),
        ])
        .sort_by_exprs(
            [order, col("group")],
            SortMultipleOptions::default().with_order_descending_multi([descending, false]),
        )
        .collect()?;
    let text = figures.column("group")?.str()?;
    let whole = |name: &str| figures.column(name)?.i64();
    let real = |name: &str| figures.column(name)?.f64();
    let (turns, read, written, beside) =
        (whole("turns")?, whole("prompt_tokens")?, whole("completion_tokens")?, whole("beside")?);
    let (cost, median, p95, hits) = (real("cost")?, real("median")?, real("p95")?, real("hits")?);
    let priced = figures.column("priced")?.bool()?;
    let row = |index: usize| Usage {
        group: text.get(index).unwrap_or_default().to_owned(),
        turns: turns.get(index).unwrap_or(0) as usize,
        prompt_tokens: read.get(index).unwrap_or(0).max(0) as u64,
        completion_tokens: written.get(index).unwrap_or(0).max(0) as u64,
        beside_turns: beside.get(index).unwrap_or(0).max(0) as u64,
        cost: cost.get(index).filter(|_| priced.get(index) == Some(true)),
        median_latency: median.get(index).unwrap_or(0.0),
        p95_latency: p95.get(index).unwrap_or(0.0),
        hit_rate: hits.get(index).unwrap_or(0.0),
    };
    Ok((0..figures.height()).map(row).collect())
}
