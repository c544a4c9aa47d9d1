//! The tools an agent has been given.

use std::sync::Arc;

use serde_json::Value;

use crate::schema;
use crate::{Tool, ToolContext, ToolError, ToolOutput, ToolSpecification, nearest};

/// Tools by name, in the order they were registered.
#[derive(Clone, Default)]
pub struct ToolRegistry {
    tools: Vec<Arc<dyn Tool>>,
}

impl ToolRegistry {
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a tool; one of the same name is replaced.
    pub fn register(&mut self, tool: Arc<dyn Tool>) {
        let name = tool.specification().name;
        match self.tools.iter_mut().find(|known| known.specification().name == name) {
            Some(known) => *known = tool,
            None => self.tools.push(tool),
        }
    }

    pub fn get(&self, name: &str) -> Option<&Arc<dyn Tool>> {
        self.tools.iter().find(|tool| tool.specification().name == name)
    }

    pub fn names(&self) -> Vec<&'static str> {
        self.tools.iter().map(|tool| tool.specification().name).collect()
    }

    pub fn specifications(&self) -> Vec<ToolSpecification> {
        self.tools.iter().map(|tool| tool.specification().clone()).collect()
    }

    /// Only the named tools, in the order named.
    pub fn subset(&self, names: &[&str]) -> Result<Self, ToolError> {
        let mut tools: Vec<Arc<dyn Tool>> = Vec::new();
        for name in names {
            let tool = self.find(name)?;
            if !tools.iter().any(|chosen| chosen.specification().name == *name) {
                tools.push(Arc::clone(tool));
            }
        }
        Ok(Self { tools })
    }

    /// Whether `run` would accept this call; says everything that is wrong with it.
    pub fn check(&self, name: &str, arguments: &Value) -> Result<(), ToolError> {
        let specification = self.find(name)?.specification();
        schema::check(&specification.parameters, arguments)
            .map_err(|reason| ToolError::InvalidArguments { tool: name.to_owned(), reason })
    }

    /// Checks the arguments against the tool's schema, then runs it. Whether it may run is
    /// the caller's to ask of the [`Policy`](crate::Policy) first.
    pub fn run(&self, name: &str, arguments: &Value, context: &ToolContext) -> Result<ToolOutput, ToolError> {
        self.check(name, arguments)?;
        if (context.interrupted)() {
            return Err(ToolError::Interrupted);
        }
        self.find(name)?.run(arguments, context)
    }

    fn find(&self, name: &str) -> Result<&Arc<dyn Tool>, ToolError> {
        self.get(name).ok_or_else(|| ToolError::Unknown {
            name: name.to_owned(),
            suggestion: nearest(name, self.names()).map(str::to_owned),
        })
    }
}
