//! System prompts from templates in files.

use codriver_inference::ToolDefinition;
use minijinja::{Environment, Error, ErrorKind, context};
use serde::Serialize;

use super::context::Group;
use super::definitions::{AgentDefinition, configuration_folder};
use crate::languages::CellError;

const BUILT_IN: [(&str, &str); 5] = [
    ("chat.j2", include_str!("../../prompts/chat.j2")),
    ("code.j2", include_str!("../../prompts/code.j2")),
    ("codriver.j2", include_str!("../../prompts/codriver.j2")),
    ("context.j2", include_str!("../../prompts/context.j2")),
    ("rules.j2", include_str!("../../prompts/rules.j2")),
];

/// The templates: a file of the same name in `prompts/` of the user's configuration folder
/// goes before the built-in one.
pub struct Prompts(Environment<'static>);

#[derive(Serialize)]
struct NamedTool<'a> {
    name: &'a str,
    description: &'a str,
}

impl Prompts {
    pub fn load() -> Self {
        let mut environment = Environment::new();
        // Prompts are plain text: nothing is escaped for HTML.
        environment.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
        environment.set_trim_blocks(true);
        environment.set_loader(template);
        Self(environment)
    }

    /// The system prompt of `agent` with what was retrieved.
    pub fn system(&self, agent: &AgentDefinition, tools: &[ToolDefinition], groups: &[Group]) -> Result<String, CellError> {
        let tools: Vec<NamedTool<'_>> =
            tools.iter().map(|tool| NamedTool { name: &tool.name, description: &tool.description }).collect();
        let rendered = self.0.get_template(&agent.template).and_then(|template| {
            template.render(context! { agent => agent.name, description => agent.description, tools, context => groups })
        });
        match rendered {
            Ok(text) => Ok(text.trim().to_owned()),
            Err(error) => Err(CellError::new(
                "PromptError",
                format!("the prompt of agent {} does not render: {error:#}; see prompts/{} in Codriver's configuration folder", agent.name, agent.template),
            )),
        }
    }
}

fn template(name: &str) -> Result<Option<String>, Error> {
    let own = configuration_folder().map(|folder| folder.join("prompts").join(name)).filter(|path| path.is_file());
    if let Some(path) = own {
        return fs_err::read_to_string(path)
            .map(Some)
            .map_err(|error| Error::new(ErrorKind::InvalidOperation, error.to_string()));
    }
    Ok(BUILT_IN.iter().find(|(known, _)| *known == name).map(|(_, text)| (*text).to_owned()))
}
