//! The grammars, and what a definition is called in each language.

use tree_sitter::{Language, Node};

use super::Kind;

/// What cutting a language along its syntax needs to know.
pub(super) struct Grammar {
    pub language: Language,
    /// What a node defines, as a title says it (`fn step`); `None` for what has no name of its own.
    pub name: fn(Node<'_>, &str) -> Option<String>,
}

/// The grammar of a kind of source code.
pub(super) fn grammar(kind: Kind) -> Option<Grammar> {
    let (language, name): (Language, fn(Node<'_>, &str) -> Option<String>) = match kind {
        Kind::Rust => (tree_sitter_rust::LANGUAGE.into(), rust),
        Kind::Python => (tree_sitter_python::LANGUAGE.into(), python),
        Kind::Sql => (arborium_sql::language().into(), sql),
        Kind::JavaScript => (tree_sitter_javascript::LANGUAGE.into(), javascript),
        Kind::TypeScript => (tree_sitter_typescript::LANGUAGE_TYPESCRIPT.into(), javascript),
        Kind::Tsx => (tree_sitter_typescript::LANGUAGE_TSX.into(), javascript),
        Kind::Shell => (tree_sitter_bash::LANGUAGE.into(), shell),
        _ => return None,
    };
    Some(Grammar { language, name })
}

/// Comments, which belong to what follows them.
pub(super) fn is_comment(node: Node<'_>) -> bool {
    matches!(
        node.kind(),
        "comment" | "line_comment" | "block_comment" | "marginalia" | "html_comment" | "hash_bang_line" | "shebang"
    )
}

/// What stands before a definition and is a part of it.
pub(super) fn is_attribute(node: Node<'_>) -> bool {
    matches!(node.kind(), "attribute_item" | "decorator")
}

fn rust(node: Node<'_>, source: &str) -> Option<String> {
    let word = match node.kind() {
        "function_item" | "function_signature_item" => "fn",
        "struct_item" => "struct",
        "enum_item" => "enum",
        "union_item" => "union",
        "trait_item" => "trait",
        "mod_item" => "mod",
        "const_item" => "const",
        "static_item" => "static",
        "type_item" => "type",
        "macro_definition" => "macro",
        "impl_item" => {
            let implemented = field(node, "type", source)?;
            return Some(match field(node, "trait", source) {
                Some(of) => format!("impl {of} for {implemented}"),
                None => format!("impl {implemented}"),
            });
        }
        _ => return None,
    };
    Some(format!("{word} {}", field(node, "name", source)?))
}

fn python(node: Node<'_>, source: &str) -> Option<String> {
    match node.kind() {
        "function_definition" => Some(format!("def {}", field(node, "name", source)?)),
        "class_definition" => Some(format!("class {}", field(node, "name", source)?)),
        "decorated_definition" => python(node.child_by_field_name("definition")?, source),
        _ => None,
    }
}

fn javascript(node: Node<'_>, source: &str) -> Option<String> {
    let word = match node.kind() {
        "function_declaration" | "generator_function_declaration" | "function_signature" => "function ",
        "class_declaration" | "abstract_class_declaration" => "class ",
        "interface_declaration" => "interface ",
        "type_alias_declaration" => "type ",
        "enum_declaration" => "enum ",
        "internal_module" | "module" => "namespace ",
        "method_definition" | "abstract_method_signature" => "",
        "lexical_declaration" | "variable_declaration" => {
            let declared = node.named_child(0).filter(|child| child.kind() == "variable_declarator")?;
            let value = declared.child_by_field_name("value")?;
            let is_function = matches!(
                value.kind(),
                "arrow_function" | "function_expression" | "class" | "object" | "call_expression"
            );
            return is_function.then(|| field(declared, "name", source)).flatten();
        }
        "export_statement" => return javascript(node.child_by_field_name("declaration")?, source),
        "expression_statement" => {
            return javascript(node.named_child(0).filter(|child| child.kind() == "internal_module")?, source);
        }
        _ => return None,
    };
    Some(format!("{word}{}", field(node, "name", source)?))
}

fn sql(node: Node<'_>, source: &str) -> Option<String> {
    if node.kind() == "statement" {
        let mut cursor = node.walk();
        return node.named_children(&mut cursor).find_map(|child| sql(child, source));
    }
    let word = match node.kind() {
        "create_table" => "table",
        "create_view" | "create_materialized_view" => "view",
        "create_function" => "function",
        "create_index" => "index",
        "create_schema" => "schema",
        "create_trigger" => "trigger",
        "create_type" => "type",
        "create_sequence" => "sequence",
        "alter_table" => "alter table",
        "insert" => "insert into",
        _ => return None,
    };
    let mut cursor = node.walk();
    let name =
        node.named_children(&mut cursor).find(|child| matches!(child.kind(), "object_reference" | "identifier"))?;
    Some(format!("{word} {}", text(name, source)?))
}

fn shell(node: Node<'_>, source: &str) -> Option<String> {
    (node.kind() == "function_definition")
        .then(|| field(node, "name", source))
        .flatten()
        .map(|name| format!("{name}()"))
}

fn field(node: Node<'_>, name: &str, source: &str) -> Option<String> {
    text(node.child_by_field_name(name)?, source)
}

fn text(node: Node<'_>, source: &str) -> Option<String> {
    let text = source.get(node.byte_range())?.trim();
    (!text.is_empty()).then(|| text.to_owned())
}
