use std::path::Path;
use std::sync::Arc;

use codriver_tools::{
    Decision, Effect, Policy, Tool, ToolContext, ToolDisplay, ToolError, ToolOutput, ToolRegistry, ToolSpecification,
};
use serde_json::{Value, json};

use crate::support::{context, registry};

struct Probe(ToolSpecification);

impl Probe {
    fn new() -> Arc<dyn Tool> {
        let parameters = json!({
            "type": "object",
            "properties": {
                "name": {"type": "string", "minLength": 1, "maxLength": 5},
                "count": {"type": "integer", "minimum": 1, "maximum": 10},
                "ratio": {"type": "number"},
                "deep": {"type": "boolean"},
                "kind": {"type": "string", "enum": ["bar", "line"]},
                "names": {"type": "array", "items": {"type": "string"}, "maxItems": 2},
                "inner": {"type": "object", "properties": {"size": {"type": "integer"}}, "required": ["size"]},
            },
            "required": ["name"],
        });
        Arc::new(Self(ToolSpecification { name: "probe", description: "", parameters, effect: Effect::Write }))
    }
}

impl Tool for Probe {
    fn specification(&self) -> &ToolSpecification {
        &self.0
    }

    fn run(&self, arguments: &Value, _: &ToolContext) -> Result<ToolOutput, ToolError> {
        Ok(ToolOutput { text: arguments.to_string(), display: ToolDisplay::Text })
    }
}

fn check(arguments: Value) -> Result<(), String> {
    let mut registry = ToolRegistry::new();
    registry.register(Probe::new());
    match registry.check("probe", &arguments) {
        Ok(()) => Ok(()),
        Err(ToolError::InvalidArguments { tool, reason }) => {
            assert_eq!(tool, "probe");
            Err(reason)
        }
        Err(other) => panic!("{other}"),
    }
}

#[track_caller]
fn refuses(arguments: Value, part: &str) {
    let reason = check(arguments.clone()).unwrap_err();
    assert!(reason.contains(part), "{arguments}: {reason}");
}

#[test]
fn good_arguments_pass() {
    assert_eq!(check(json!({"name": "a"})), Ok(()));
    assert_eq!(
        check(json!({
            "name": "äöüßé", "count": 10, "ratio": 0.5, "deep": false, "kind": "bar", "names": ["a"], "inner": {"size": 1}
        })),
        Ok(())
    );
    assert_eq!(check(json!({"name": "a", "count": 3.0, "ratio": 1})), Ok(()), "3.0 is a whole number");
    assert_eq!(check(json!({"name": "a", "count": null})), Ok(()), "null leaves an optional argument out");
}

#[test]
fn bad_arguments_are_named() {
    refuses(json!({}), "\"name\" is missing");
    refuses(json!({"name": null}), "\"name\" must be text, not null");
    refuses(json!({"name": 3}), "\"name\" must be text, not the number 3");
    refuses(json!({"name": ""}), "must not be empty");
    refuses(json!({"name": "abcdef"}), "at most 5 characters");
    refuses(json!({"name": "a", "count": "3"}), "\"count\" must be a whole number, not the text \"3\"");
    refuses(json!({"name": "a", "count": 2.5}), "whole number");
    refuses(json!({"name": "a", "count": 0}), "at least 1");
    refuses(json!({"name": "a", "count": 11}), "at most 10");
    refuses(json!({"name": "a", "deep": "yes"}), "true or false");
    refuses(json!({"name": "a", "kind": "pie"}), "one of \"bar\", \"line\"");
    refuses(json!({"name": "a", "names": ["x", 1]}), "\"names[1]\" must be text");
    refuses(json!({"name": "a", "names": ["x", "y", "z"]}), "at most 2 items");
    refuses(json!({"name": "a", "inner": {}}), "\"inner.size\" is missing");
    refuses(json!({"name": "a", "inner": {"size": 1, "sise": 2}}), "\"inner.sise\" (did you mean \"size\"?)");
    refuses(json!({"name": "a", "cuont": 1}), "unknown argument \"cuont\" (did you mean \"count\"?)");
    refuses(json!({"name": "a", "zzz": 1}), "known are name, count");
    refuses(json!("{\"name\": "), "does not parse");
    refuses(json!([1]), "not a list");
}

#[test]
fn every_mistake_is_said_at_once() {
    let reason = check(json!({"count": "x", "other": 1})).unwrap_err();
    assert_eq!(reason.matches(';').count(), 2, "{reason}");
}

#[test]
fn unknown_tools_get_the_nearest_name() {
    let registry = registry();
    let near = |name: &str| match registry.run(name, &json!({}), &context(Path::new("/"))) {
        Err(ToolError::Unknown { suggestion, .. }) => suggestion,
        other => panic!("{other:?}"),
    };
    assert_eq!(near("gitstatus").as_deref(), Some("git_status"));
    assert_eq!(near("git-diff").as_deref(), Some("git_diff"));
    assert_eq!(near("search").as_deref(), Some("search_files"));
    assert_eq!(near("frobnicate"), None);
    assert_eq!(near(""), None);
}

#[test]
fn a_subset_holds_what_was_named() {
    let registry = registry();
    let subset = registry.subset(&["calculate", "git_log", "calculate"]).unwrap();
    assert_eq!(subset.names(), ["calculate", "git_log"]);
    assert!(subset.get("read_file").is_none());
    let error = registry.subset(&["calculat"]).err().unwrap();
    assert_eq!(error.to_string(), "unknown tool \"calculat\"; did you mean \"calculate\"?");
}

#[test]
fn the_builtin_tools_are_those_agreed_and_only_read() {
    let registry = registry();
    assert_eq!(
        registry.names(),
        ["git_status", "git_log", "git_diff", "list_files", "read_file", "search_files", "calculate"]
    );
    for specification in registry.specifications() {
        assert_eq!(specification.effect, Effect::Read, "{}", specification.name);
        assert_eq!(specification.parameters["type"], "object");
        assert!(!specification.description.is_empty());
    }
}

#[test]
fn an_interrupted_tool_does_not_start() {
    let mut context = context(Path::new("/"));
    context.interrupted = Arc::new(|| true);
    let result = registry().run("calculate", &json!({"expression": "1+1"}), &context);
    assert_eq!(result, Err(ToolError::Interrupted));
}

#[test]
fn what_writes_is_asked_about_or_denied() {
    let tool = Probe::new();
    let mut specification = tool.specification().clone();
    assert_eq!(Policy { can_ask: true }.decide(&specification), Decision::Ask);
    assert_eq!(Policy { can_ask: false }.decide(&specification), Decision::Deny);
    specification.effect = Effect::Memory;
    assert_eq!(Policy { can_ask: false }.decide(&specification), Decision::Allow);
    specification.effect = Effect::Read;
    assert_eq!(Policy { can_ask: false }.decide(&specification), Decision::Allow);
}
