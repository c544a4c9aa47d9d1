//! What to do about a prompt that the model has no room for, where all that could be left out was.

use codriver_inference::Role;

use super::plan::Plan;
use crate::agent::context::Section;
use crate::agent::prompts;

const LARGER: &str = "choose a model with a larger window (--model NAME)";

/// Why the prompt is so long, and what helps.
pub(super) fn explain(plan: &Plan, prompt: usize, window: usize) -> String {
    let tokens = |section: Section| {
        let items = plan.retrieved.items.iter().filter(|item| item.details.section == section.name());
        items.map(|item| item.tokens).sum::<usize>()
    };
    let fixed = tokens(Section::System) + tokens(Section::Tools);
    let advice = if fixed >= window {
        let least = prompts::system(&plan.agent, &[]).map_or(0, |system| plan.model.count_tokens(&system));
        let fewer = "offer fewer tools (--tools A,B) or ";
        let fewer = if plan.chat.tools.is_empty() || least >= window { "" } else { fewer };
        format!("the system prompt and the tools alone take {fixed}: {fewer}{LARGER}")
    } else if fixed + tokens(Section::Request) < window && plan.chat.messages.iter().any(|said| said.role == Role::Tool)
    {
        format!("what the tools answered is too long for it: ask for less at once, or {LARGER}")
    } else {
        format!("shorten the request, or {LARGER}")
    };
    format!("the prompt has {prompt} tokens but the model's window holds {window}; {advice}")
}
