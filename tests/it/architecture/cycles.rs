//! Import cycles between the files of one top-level module of `server/`.
//!
//! A file depends on the file in which an imported item is defined: re-exports are followed, so that the `pub use` of a
//! `mod.rs` is no dependency by itself. The scanner reads `use` items, paths that begin with `crate::`, `self::` or
//! `super::`, and paths that begin with an imported or a child module.

use std::collections::{BTreeMap, BTreeSet};

use super::source::{Source, words};

/// Re-exports that one path may pass through.
const REEXPORTS_MAX: usize = 8;

type ModulePath = Vec<String>;

/// What the scanner knows of a file.
struct Module {
    file: String,
    children: BTreeSet<String>,
    /// Imported name -> full path; `*` imports are kept separately.
    imports: BTreeMap<String, ModulePath>,
    globs: Vec<ModulePath>,
    /// Full paths that the file depends on, re-exports left out.
    used: BTreeSet<ModulePath>,
}

/// Returns one finding for each dependency inside a cycle: `a.rs -> b.rs (Name)`.
pub fn cycles(sources: &[Source]) -> Vec<String> {
    let modules: BTreeMap<ModulePath, Module> = sources.iter().filter_map(read_module).collect();
    let mut edges: BTreeMap<&str, BTreeMap<&str, &str>> = BTreeMap::new();
    for (own, module) in &modules {
        for path in module.used.iter().filter(|path| path.first() == own.first()) {
            let Some(target) = resolve(&modules, path, REEXPORTS_MAX).filter(|target| *target != module.file) else {
                continue;
            };
            let name = path.last().map_or("", String::as_str);
            edges.entry(&module.file).or_default().entry(target).or_insert(name);
        }
    }
    let reachable = |from: &str| -> BTreeSet<&str> {
        let (mut seen, mut waiting) = (BTreeSet::new(), vec![from]);
        while let Some(file) = waiting.pop() {
            for next in edges.get(file).into_iter().flat_map(BTreeMap::keys) {
                if seen.insert(*next) {
                    waiting.push(next);
                }
            }
        }
        seen
    };
    let closures: BTreeMap<&str, BTreeSet<&str>> = edges.keys().map(|file| (*file, reachable(file))).collect();
    let reaches = |from: &str, to: &str| closures.get(from).is_some_and(|files| files.contains(to));
    let mut found = Vec::new();
    for (from, targets) in &edges {
        for (to, name) in targets.iter().filter(|(to, _)| reaches(to, from)) {
            found.push(format!("{from} -> {to} ({name}) is part of an import cycle: move the item to a leaf file"));
        }
    }
    found
}

/// Returns the file that defines the item at the end of a path, `None` if the path leaves the tree.
fn resolve<'a>(modules: &'a BTreeMap<ModulePath, Module>, path: &[String], reexports: usize) -> Option<&'a str> {
    let at = (1..=path.len()).rev().find(|length| modules.contains_key(&path[..*length]))?;
    let module = &modules[&path[..at]];
    let Some(name) = path.get(at) else { return Some(&module.file) };
    let follow = |target: &[String]| {
        let rest: ModulePath = target.iter().chain(&path[at + 1..]).cloned().collect();
        let within = reexports > 0 && target.first() == path.first();
        within.then(|| resolve(modules, &rest, reexports - 1)).flatten()
    };
    module.imports.get(name).and_then(|target| follow(target)).or(Some(&module.file))
}

fn read_module(source: &Source) -> Option<(ModulePath, Module)> {
    let inside = source.path.strip_prefix("server/")?.strip_suffix(".rs")?;
    let is_test = source.live_code.trim().is_empty();
    if is_test || ["lib", "main"].contains(&inside) {
        return None;
    }
    let own: ModulePath = inside.trim_end_matches("/mod").split('/').map(str::to_owned).collect();
    let code = &without_visibility(&source.live_code);
    let children = words(code, "mod ").into_iter().map(|at| ident(&code[at + 4..])).collect();
    let mut module = Module {
        file: source.path.clone(),
        children,
        imports: BTreeMap::new(),
        globs: Vec::new(),
        used: BTreeSet::new(),
    };
    let body = read_uses(code, &own, &mut module);
    read_paths(&body, &own, &mut module);
    Some((own, module))
}

/// Returns the code without `(in crate::…)`: a visibility is no dependency.
fn without_visibility(code: &str) -> String {
    let mut code = code.to_owned();
    for at in words(&code.clone(), "pub(in ") {
        let end = at + code[at..].find(')').unwrap_or(0);
        code.replace_range(at + 3..end, &" ".repeat(end - at - 3));
    }
    code
}

/// Reads the `use` items, and returns the code without them.
fn read_uses(code: &str, own: &[String], module: &mut Module) -> String {
    let mut body = code.to_owned();
    let mut imported = Vec::new();
    for at in words(code, "use ") {
        let Some(length) = code[at..].find(';') else { continue };
        let tree: String = code[at + 4..at + length].split_whitespace().collect::<Vec<_>>().join(" ");
        let mut leaves = Vec::new();
        expand(&tree, &[], &mut leaves);
        for (path, name) in leaves {
            let Some(full) = absolute(&path, own, &module.children) else { continue };
            if name == "*" {
                module.globs.push(full.clone());
                module.used.insert(full);
            } else {
                imported.push((name, full));
            }
        }
        body.replace_range(at..at + length, &" ".repeat(length));
    }
    for (name, full) in imported {
        if !words(&body, &name).is_empty() {
            module.used.insert(full.clone());
        }
        module.imports.insert(name, full);
    }
    body
}

/// Adds the paths in the code: after `crate::`, `self::`, `super::`, an imported module, or a child module.
fn read_paths(body: &str, own: &[String], module: &mut Module) {
    let roots = ["crate", "self", "super"].map(str::to_owned);
    let names: Vec<String> =
        roots.into_iter().chain(module.children.iter().cloned()).chain(module.imports.keys().cloned()).collect();
    for name in names {
        for at in words(body, &format!("{name}::")) {
            if body[..at].ends_with("::") {
                continue;
            }
            let text: String = body[at..].chars().take_while(|c| c.is_alphanumeric() || "_:".contains(*c)).collect();
            let path: ModulePath = text.split("::").map(str::to_owned).filter(|part| !part.is_empty()).collect();
            let full = match module.imports.get(&name) {
                Some(target) => Some(target.iter().chain(&path[1..]).cloned().collect()),
                None => absolute(&path, own, &module.children),
            };
            module.used.extend(full);
        }
    }
}

/// Returns a path from the root of the crate, `None` for a path of another crate.
fn absolute(path: &[String], own: &[String], children: &BTreeSet<String>) -> Option<ModulePath> {
    let first = path.first()?.as_str();
    let supers = path.iter().take_while(|part| *part == "super").count();
    match first {
        "crate" => Some(path[1..].to_vec()),
        "self" => Some(own.iter().chain(&path[1..]).cloned().collect()),
        "super" => Some(own[..own.len().checked_sub(supers)?].iter().chain(&path[supers..]).cloned().collect()),
        child if children.contains(child) => Some(own.iter().chain(path).cloned().collect()),
        _ => None,
    }
}

/// Expands a tree of `use` into full paths with the name that each adds to the scope.
fn expand(tree: &str, prefix: &[String], leaves: &mut Vec<(ModulePath, String)>) {
    let tree = tree.trim();
    if let Some(open) = tree.find('{').filter(|open| tree[..*open].chars().all(|c| !c.is_whitespace() && c != ',')) {
        let parts = tree[..open].split("::").filter(|part| !part.is_empty()).map(str::to_owned);
        let prefix: ModulePath = prefix.iter().cloned().chain(parts).collect();
        let list = tree[open + 1..].trim_end().trim_end_matches('}');
        let list = &tree[open + 1..open + 1 + list_length(&tree[open + 1..], list.len())];
        split_list(list).into_iter().for_each(|part| expand(part, &prefix, leaves));
        return;
    }
    if tree.is_empty() {
        return;
    }
    let (path, alias) = tree.split_once(" as ").map_or((tree, None), |(path, alias)| (path, Some(alias.trim())));
    let mut full: ModulePath = prefix.to_vec();
    full.extend(path.split("::").map(|part| part.trim().to_owned()).filter(|part| !part.is_empty()));
    let last = full.last().cloned().unwrap_or_default();
    if last == "self" && prefix.last().is_some_and(|last| last != "self") {
        full.pop();
    }
    let name = alias.map_or_else(|| full.last().cloned().unwrap_or_default(), str::to_owned);
    if last == "*" {
        full.pop();
    }
    leaves.push((full, name));
}

/// Length of the list up to the brace that closes it.
fn list_length(text: &str, otherwise: usize) -> usize {
    let mut depth = 0;
    for (at, c) in text.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => return at,
            '}' => depth -= 1,
            _ => {}
        }
    }
    otherwise
}

/// Splits at the commas of the outermost level.
fn split_list(list: &str) -> Vec<&str> {
    let (mut depth, mut start, mut parts) = (0, 0, Vec::new());
    for (at, c) in list.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(&list[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&list[start..]);
    parts
}

fn ident(text: &str) -> String {
    text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}
