//! One tool call: checked, judged, asked about, recorded, run, shown.

use std::collections::HashMap;
use std::time::Instant;

use codriver_inference::ToolCall;
use codriver_memory::{NewToolRun, ToolRunId};
use codriver_tools::{Decision, Effect, ToolDisplay, ToolError, ToolOutput};
use serde_json::{Value, json};

use super::{Ending, ToolRun, Turn};
use crate::agent::context::{shorten, shorten_clean};
use crate::agent::stream::{METADATA, kind};
use crate::render::cards::{self, Stage, ToolCard};
use crate::session::MimeBundle;

/// Calls in a row that cannot run before the turn ends.
const MOST_BAD_CALLS: usize = 3;
/// How often the same call may be made while nothing changes.
const MOST_REPEATS: usize = 3;
/// Calls of one turn: a model can ask for any number in one message.
const MOST_CALLS: usize = 50;
/// The longest result a model reads, where its window is large.
const LONGEST_RESULT: usize = 16_000;

/// What the calls of a turn have been like.
#[derive(Default)]
pub(super) struct Calls {
    made: HashMap<String, usize>,
    bad: usize,
}

pub(super) enum Outcome {
    /// What the model reads.
    Result(String),
    End(Ending),
}

impl Turn<'_> {
    pub(super) fn run_call(&mut self, call: &ToolCall, calls: &mut Calls) -> Outcome {
        if self.context.interrupt.is_set() {
            return Outcome::End(Ending::Interrupted);
        }
        if self.tool_runs.len() >= MOST_CALLS {
            return Outcome::End(Ending::failed(format!(
                "the model made {MOST_CALLS} calls without an answer; ask for less at once"
            )));
        }
        if let Err(error) = self.check(call) {
            return self.bad_call(call, &error, calls);
        }
        calls.bad = 0;
        let made = calls.made.entry(format!("{} {}", call.name, call.arguments)).or_default();
        *made += 1;
        if *made > MOST_REPEATS {
            return Outcome::End(Ending::failed(format!(
                "the model calls {} with the same arguments again and again; ask in other words, or choose another model with %model",
                call.name
            )));
        }
        let repeated = *made > 1;
        let (effect, policy) = match self.permission(call) {
            Ok(granted) => granted,
            Err(Refusal::Denied { reason, policy }) => return self.denied(call, &reason, &policy),
            Err(Refusal::Failed(error)) => return self.bad_call(call, &error, calls),
        };
        let outcome = self.run_allowed(call, effect, &policy);
        if effect == Effect::Write {
            // What was looked at before may have changed.
            calls.made.clear();
        }
        match outcome {
            Outcome::Result(text) if repeated => Outcome::Result(format!(
                "{text}\n(You have made this call before, with the same result. Use it, or do something else.)"
            )),
            other => other,
        }
    }

    fn check(&self, call: &ToolCall) -> Result<(), ToolError> {
        if !call.arguments.is_object() {
            return Err(ToolError::InvalidArguments {
                tool: call.name.clone(),
                reason: "the arguments are not a JSON object".to_owned(),
            });
        }
        self.plan.toolbox.check(&call.name, &call.arguments)
    }

    /// A call that cannot run goes back to the model, a few times.
    fn bad_call(&mut self, call: &ToolCall, error: &ToolError, calls: &mut Calls) -> Outcome {
        calls.bad += 1;
        let reason = self.secrets.redact(&error.to_string());
        self.keep(call, "rejected: not a valid call", "invalid", &reason);
        let card = self.card(call, Stage::Failed(&reason), None);
        self.context.output.display(card);
        if calls.bad >= MOST_BAD_CALLS {
            return Outcome::End(Ending::failed(format!(
                "the model made {MOST_BAD_CALLS} calls in a row that cannot run (the last: {reason}); ask in other words, or choose another model with %model"
            )));
        }
        Outcome::Result(format!("error: {reason}"))
    }

    /// The effect a call may have, and why it may.
    fn permission(&self, call: &ToolCall) -> Result<(Effect, String), Refusal> {
        let verdict =
            self.plan.toolbox.judge(self.plan.policy, &call.name, &call.arguments).map_err(Refusal::Failed)?;
        match verdict.decision {
            Decision::Allow => Ok((verdict.effect, verdict.why)),
            Decision::Deny => Err(Refusal::Denied {
                reason: "this changes something, and nobody can be asked for permission here".to_owned(),
                policy: verdict.why,
            }),
            Decision::Ask => {
                let answer = self.context.output.ask(&question(&self.plan.agent.name, call), false);
                let yes = answer.is_some_and(|answer| matches!(answer.trim().to_lowercase().as_str(), "y" | "yes"));
                if yes {
                    return Ok((verdict.effect, "asked: yes".to_owned()));
                }
                Err(Refusal::Denied {
                    reason: "the person did not allow it".to_owned(),
                    policy: "asked: no".to_owned(),
                })
            }
        }
    }

    fn denied(&mut self, call: &ToolCall, reason: &str, policy: &str) -> Outcome {
        if self.context.interrupt.is_set() {
            self.keep(call, policy, "interrupted", "interrupted while asking");
            return Outcome::End(Ending::Interrupted);
        }
        self.keep(call, policy, "denied", reason);
        let card = self.card(call, Stage::Denied(reason), None);
        self.context.output.display(card);
        Outcome::Result(format!("denied: {reason}. Do not call it again; say what you would have done, or do without."))
    }

    fn run_allowed(&mut self, call: &ToolCall, effect: Effect, policy: &str) -> Outcome {
        // Recorded before it runs: what cannot be recorded does not run.
        let id = match self.begin(call, policy) {
            Ok(id) => id,
            Err(reason) => return Outcome::End(Ending::failed(format!("{} was not run: {reason}", call.name))),
        };
        let live = self.context.output.live_display(self.card(call, Stage::Running, None));
        let started = Instant::now();
        let outcome =
            self.plan.toolbox.run(&call.name, &call.arguments, effect).map(|output| self.without_secrets(output));
        let milliseconds = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        let (status, text) = match &outcome {
            Ok(output) => ("ok", output.text.clone()),
            Err(ToolError::Interrupted) => ("interrupted", "interrupted".to_owned()),
            Err(error) => ("failed", self.secrets.redact(&error.to_string())),
        };
        let stage = match &outcome {
            Ok(output) => Stage::Done { text: &output.text, display: &output.display },
            Err(_) => Stage::Failed(&text),
        };
        live.update(self.card(call, stage, Some(milliseconds)));
        if let Ok(output) = &outcome {
            self.data.add(&call.name, &output.display);
        }
        self.end(id, call, status, &text, milliseconds);
        if status == "interrupted" || self.context.interrupt.is_set() {
            return Outcome::End(Ending::Interrupted);
        }
        let text = shorten_clean(&text, self.longest_result(), &self.memory.redactor());
        Outcome::Result(if outcome.is_ok() { text } else { format!("error: {text}") })
    }

    /// A quarter of the window for one result, at about three bytes a token.
    fn longest_result(&self) -> usize {
        LONGEST_RESULT.min(self.plan.model.context_window() / 4 * 3).max(1_000)
    }

    fn without_secrets(&self, output: ToolOutput) -> ToolOutput {
        let text = self.secrets.redact(&output.text);
        let shown = match &output.display {
            ToolDisplay::Text => String::new(),
            ToolDisplay::Diff(text) | ToolDisplay::Code { source: text, .. } => text.clone(),
            ToolDisplay::Table { rows, .. } => rows.iter().flatten().cloned().collect::<Vec<_>>().join("\n"),
        };
        let display = if self.secrets.redact(&shown) == shown { output.display } else { ToolDisplay::Text };
        ToolOutput { text, display }
    }

    fn card(&self, call: &ToolCall, stage: Stage<'_>, milliseconds: Option<u64>) -> MimeBundle {
        // Its heading is cut.
        let arguments = self.memory.redactor().redact_json(&call.arguments);
        let card = ToolCard {
            tool: &call.name,
            arguments: &arguments,
            stage,
            milliseconds: milliseconds.filter(|_| self.context.output.can_ask()),
        };
        let mut bundle = kind(cards::tool_card(&card), "tool");
        if let Some(Value::Object(metadata)) = bundle.metadata.get_mut(METADATA) {
            metadata.insert("tool".to_owned(), json!(call.name));
            metadata.extend(milliseconds.map(|time| ("milliseconds".to_owned(), json!(time))));
        }
        bundle
    }

    fn begin(&self, call: &ToolCall, policy: &str) -> Result<Option<ToolRunId>, String> {
        let Some(conversation) = &self.plan.conversation else { return Ok(None) };
        let run = NewToolRun {
            conversation: conversation.clone(),
            tool: call.name.clone(),
            arguments: call.arguments.clone(),
            policy: policy.to_owned(),
        };
        self.memory.start_tool_run(&run).map(Some).map_err(|error| format!("it cannot be recorded ({error})"))
    }

    fn end(&mut self, id: Option<ToolRunId>, call: &ToolCall, status: &'static str, result: &str, milliseconds: u64) {
        if let Some(id) = id
            && let Err(error) = self.memory.finish_tool_run(&id, status, result, milliseconds)
        {
            self.context.output.stderr(format!("the end of {} is not recorded: {error}\n", call.name));
        }
        self.tool_runs.push(ToolRun {
            tool: call.name.clone(),
            arguments: call.arguments.clone(),
            status,
            result: result.to_owned(),
            milliseconds,
        });
    }

    /// Records a call that did not run.
    fn keep(&mut self, call: &ToolCall, policy: &str, status: &'static str, result: &str) {
        match self.begin(call, policy) {
            Ok(id) => self.end(id, call, status, result, 0),
            Err(reason) => self.context.output.stderr(format!("{}: {reason}\n", call.name)),
        }
    }
}

enum Refusal {
    Denied { reason: String, policy: String },
    Failed(ToolError),
}

fn question(agent: &str, call: &ToolCall) -> String {
    let mut question = format!("The agent {agent} wants to run {}:\n", call.name);
    for (name, value) in call.arguments.as_object().into_iter().flatten() {
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let text = shorten(&text, 2_000);
        if text.contains('\n') {
            let indented: String = text.lines().map(|line| format!("    {line}\n")).collect();
            question.push_str(&format!("  {name}:\n{indented}"));
        } else {
            question.push_str(&format!("  {name}: {text}\n"));
        }
    }
    question.push_str("Allow it? [y/N] ");
    question
}
