//! The agents there are: three that ship, and what the user's configuration adds or changes.

use std::path::{Path, PathBuf};

use directories::ProjectDirs;
use regex::Regex;
use serde::Deserialize;

use super::limits;

/// An agent: a prompt, the tools it may use, and its limits.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AgentDefinition {
    pub name: String,
    pub description: String,
    /// The template of its system prompt, a file in `prompts/`.
    pub template: String,
    pub tools: Vec<String>,
    #[serde(deserialize_with = "limits::deserialize_limit")]
    pub max_turns: usize,
    #[serde(deserialize_with = "limits::deserialize_limit")]
    pub max_tokens: usize,
    /// The model it asks; the session's current one by default.
    #[serde(default)]
    pub model: Option<String>,
    #[serde(default, deserialize_with = "limits::deserialize_temperature")]
    pub temperature: f32,
    /// Requests it hands to another agent.
    #[serde(default)]
    pub routes: Vec<Route>,
}

/// Hands a request that matches `when` to `agent`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Route {
    pub agent: String,
    pub why: String,
    /// A regular expression.
    #[serde(deserialize_with = "expression")]
    pub when: Regex,
}

/// All agents by name.
#[derive(Debug, Clone)]
pub struct Definitions(Vec<AgentDefinition>);

/// Which agent takes a request, and why.
#[derive(Debug, Clone)]
pub struct Routed<'a> {
    pub agent: &'a AgentDefinition,
    pub why: String,
}

const BUILT_IN: &str = include_str!("../../prompts/agents.json");

impl Definitions {
    /// The built-in agents, then `agents.json` of the user's configuration folder, whose
    /// entries replace those of the same name. A file that cannot be read is reported in
    /// the second value, not fatal.
    pub fn load() -> (Self, Option<String>) {
        let mut definitions = Self::built_in();
        let Some(path) = configuration_folder().map(|folder| folder.join("agents.json")) else {
            return (definitions, None);
        };
        let problem = definitions.add_file(&path).err();
        (definitions, problem)
    }

    pub fn built_in() -> Self {
        // Its being readable is checked by a test.
        Self(serde_json::from_str(BUILT_IN).unwrap_or_default())
    }

    pub fn get(&self, name: &str) -> Option<&AgentDefinition> {
        self.0.iter().find(|agent| agent.name == name)
    }

    pub fn all(&self) -> &[AgentDefinition] {
        &self.0
    }

    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|agent| agent.name.as_str())
    }

    /// Follows the routes of `agent` once. What no rule decides, the agent keeps: its model
    /// then picks by the tools it calls.
    pub fn route<'a>(&'a self, agent: &'a AgentDefinition, request: &str) -> Routed<'a> {
        let matching = agent.routes.iter().filter(|route| route.when.is_match(request));
        matching
            .filter_map(|route| self.get(&route.agent).map(|agent| Routed { agent, why: route.why.clone() }))
            .next()
            .unwrap_or_else(|| Routed { agent, why: String::new() })
    }

    fn add_file(&mut self, path: &Path) -> Result<(), String> {
        let text = match fs_err::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error.to_string()),
        };
        let added: Vec<AgentDefinition> =
            serde_json::from_str(&text).map_err(|error| format!("{}: {error}", path.display()))?;
        for agent in added {
            self.0.retain(|known| known.name != agent.name);
            self.0.push(agent);
        }
        Ok(())
    }
}

/// Where a user's own agents and prompts live: `CODRIVER_CONFIG_DIR`, or the platform's folder.
pub fn configuration_folder() -> Option<PathBuf> {
    match std::env::var_os("CODRIVER_CONFIG_DIR").filter(|value| !value.is_empty()) {
        Some(folder) => Some(PathBuf::from(folder)),
        None => ProjectDirs::from("", "", "codriver").map(|folders| folders.config_dir().to_owned()),
    }
}

fn expression<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Regex, D::Error> {
    let text = String::deserialize(deserializer)?;
    Regex::new(&text).map_err(serde::de::Error::custom)
}

#[cfg(test)]
mod tests {
    use super::Definitions;

    #[test]
    fn three_agents_ship_and_requests_find_theirs() {
        let agents = Definitions::built_in();
        assert_eq!(agents.names().collect::<Vec<_>>(), ["codriver", "chat", "code"]);
        let codriver = agents.get("codriver").unwrap();
        for (request, expected) in [
            ("Hello!", "chat"),
            ("thanks a lot", "chat"),
            ("hello, how many rows has sales?", "codriver"),
            ("Write a Rust function that reverses a string", "code"),
            ("why did revenue drop in March?", "codriver"),
            ("what changed in main.rs?", "codriver"),
        ] {
            assert_eq!(agents.route(codriver, request).agent.name, expected, "{request}");
        }
    }
}
