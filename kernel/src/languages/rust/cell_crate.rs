//! The `cell` crate, carried in the binary and given to cells as a module: a dependency
//! would have to be built, and would make every type the user defined before it another one.

const LIBRARY: &str = include_str!("../../../cell/src/lib.rs");
const DISPLAY: &str = include_str!("../../../cell/src/display.rs");
const FRAME: &str = include_str!("../../../cell/src/frame.rs");

/// `mod cell { ... }`
pub fn module() -> String {
    let library = LIBRARY
        .replace("\nmod display;", &format!("\nmod display {{\n{DISPLAY}}}"))
        .replace("\nmod frame;", &format!("\nmod frame {{\n{FRAME}}}"));
    format!("mod cell {{\n{library}}}")
}

/// Whether a cell names the module.
pub fn is_mentioned(code: &str) -> bool {
    let is_name = |character: char| character.is_alphanumeric() || matches!(character, '_' | ':');
    let path = code.match_indices("cell::").any(|(offset, _)| !code[..offset].ends_with(is_name));
    path || code.contains("use cell;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_module_is_whole() {
        let module: syn::ItemMod = syn::parse_str(&module()).unwrap();
        let items = module.content.unwrap().1;
        let has_body = |item: &syn::Item| matches!(item, syn::Item::Mod(module) if module.content.is_some());
        assert_eq!(items.iter().filter(|item| has_body(item)).count(), 2);
    }

    #[test]
    fn only_paths_that_begin_with_cell_count() {
        assert!(is_mentioned("let d = cell::display(\"a\", \"b\");") && is_mentioned("use cell::frame;"));
        assert!(
            !is_mentioned("std::cell::RefCell::new(1)") && !is_mentioned("my_cell::x()") && !is_mentioned("cell.get()")
        );
    }
}
