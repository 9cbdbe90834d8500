//! Entry: how a file or folder of the tree is shown: as a row, as facts, as JSON.

use common::id::NodeId;
use common::size::ByteSize;
use serde_json::{Map, Value};

use super::output::{ToPath, mode_text, name_into, time_text};
use crate::folder::{Entry, What};
use crate::names::{RemotePath, Shown};

/// Entries of one folder that are sorted by name before they are shown to people; more come in portions of so many.
pub(super) const SORTED_ROWS: usize = 100_000;

/// One line of a listing.
pub(super) struct Row {
    kind: char,
    mode: u32,
    size: u64,
    time: String,
    name: String,
    link: Option<String>,
}

impl Row {
    pub(super) fn of(entry: &Entry, name: String) -> Self {
        let file = entry.file();
        let link = file.and_then(|file| file.link()).map(|target| Shown(target).to_string());
        let kind = match (&entry.what, &link) {
            (What::Folder(_), _) => 'd',
            (What::File(_), Some(_)) => 'l',
            (What::File(_), None) => '-',
        };
        let size = file.map_or(0, |file| file.meta.size);
        Self { kind, mode: entry.mode(), size, time: time_text(entry.modified()), name, link }
    }

    pub(super) fn short(self) -> String {
        if self.kind == 'd' { format!("{}/", self.name) } else { self.name }
    }

    pub(super) fn long(self) -> Vec<String> {
        let size = if self.kind == 'd' { "-".to_owned() } else { ByteSize(self.size).to_string() };
        let name = match &self.link {
            Some(target) => format!("{} -> {target}", self.name),
            None if self.kind == 'd' => format!("{}/", self.name),
            None => self.name,
        };
        vec![mode_text(self.kind, self.mode), size, self.time, name]
    }
}

pub(super) fn kind_word(entry: &Entry) -> &'static str {
    match (&entry.what, entry.file().and_then(|file| file.link())) {
        (What::Folder(_), _) => "folder",
        (What::File(_), Some(_)) => "link",
        (What::File(_), None) => "file",
    }
}

/// What a folder asks for.
fn asked_of(entry: &Entry) -> Option<common::redundancy::Redundancy> {
    match &entry.what {
        What::Folder(attributes) => attributes.redundancy,
        What::File(_) => None,
    }
}

/// What is shown of an earlier time says of which.
pub(super) fn as_of(mut object: Value, at: Option<u64>) -> Value {
    if let (Some(at), Some(object)) = (at, object.as_object_mut()) {
        object.insert("as_of".to_owned(), at.into());
    }
    object
}

pub(super) fn object(path: &RemotePath, entry: &Entry) -> Value {
    let mut object = Map::new();
    name_into(&mut object, "path", &path.bytes());
    name_into(&mut object, "name", entry.name.as_bytes());
    object.insert("kind".to_owned(), kind_word(entry).into());
    object.insert("mode".to_owned(), format!("{:04o}", entry.mode()).into());
    object.insert("modified".to_owned(), time_text(entry.modified()).into());
    object.insert("node".to_owned(), entry.node.to_string().into());
    object.insert("since".to_owned(), entry.since.into());
    if let Some(redundancy) = asked_of(entry) {
        object.insert("redundancy".to_owned(), redundancy.to_string().into());
    }
    if let Some(file) = entry.file() {
        object.insert("size".to_owned(), file.meta.size.into());
        object.insert("version".to_owned(), file.version.to_string().into());
        object.insert("committed".to_owned(), file.committed.to_string().into());
        object.insert("redundancy".to_owned(), file.redundancy.to_string().into());
        object.insert("sealed_bytes".to_owned(), file.sealed_bytes.into());
        object.insert("extents".to_owned(), file.meta.extents.into());
        if let Some(target) = file.link() {
            name_into(&mut object, "target", target);
        }
    }
    Value::Object(object)
}

pub(super) fn root_object(root: NodeId) -> Value {
    let mut object = Map::new();
    name_into(&mut object, "path", b"/");
    object.insert("kind".to_owned(), "folder".into());
    object.insert("node".to_owned(), root.to_string().into());
    Value::Object(object)
}

pub(super) fn facts(path: &RemotePath, entry: &Entry) -> Vec<(&'static str, String)> {
    let mut facts = vec![("path", path.to_string()), ("kind", kind_word(entry).to_owned())];
    if let Some(file) = entry.file() {
        if let Some(target) = file.link() {
            facts.push(("points to", Shown(target).to_string()));
        } else {
            facts.push(("size", format!("{} ({} bytes)", ByteSize(file.meta.size), file.meta.size)));
        }
        if file.sealed_bytes > 0 {
            let bytes = file.sealed_bytes;
            facts.push(("sealed", format!("{} ({bytes} bytes) before copies and shares", ByteSize(bytes))));
        }
        facts.push(("version", format!("@{} ({})", entry.since, file.version)));
        facts.push(("stored", file.committed.to_string()));
        facts.push(("redundancy", file.redundancy.to_string()));
        facts.push(("extents", file.meta.extents.to_string()));
    }
    if let Some(redundancy) = asked_of(entry) {
        facts.push(("redundancy", format!("{redundancy} for what is put here")));
    }
    facts.push(("mode", format!("{:04o}", entry.mode())));
    facts.push(("modified", time_text(entry.modified())));
    facts.push(("node", entry.node.to_string()));
    facts
}

pub(super) fn root_facts(root: NodeId) -> Vec<(&'static str, String)> {
    vec![("path", "/".to_owned()), ("kind", "folder (the account's root)".to_owned()), ("node", root.to_string())]
}
