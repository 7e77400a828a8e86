//! What people and programs do to a model directory.

use super::repository::{Holding, MODELS, Repository, VERSION_MAX, write_slowly};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// One operation on a model.
type Operation = fn(&mut Repository, usize);

const ALL: [(&str, Operation); 20] = [
    ("create", create),
    ("create", create),
    ("copy slowly", copy_slowly),
    ("link", link),
    ("turn a link", turn_link),
    ("rename", rename),
    ("hide and show", hide),
    ("delete", delete),
    ("delete slowly", delete_slowly),
    ("delete all but one", delete_others),
    ("forbid the model", forbid_model),
    ("forbid the directory", forbid_root),
    ("forbid a version", forbid_version),
    ("empty the directory", empty_root),
    ("empty the model", empty_model),
    ("truncate", truncate),
    ("overwrite", overwrite),
    ("touch", touch),
    ("litter", litter),
    ("edit the configuration", edit_config),
];

/// Performs one at random and returns its name.
pub(super) fn perform_one(repository: &mut Repository) -> &'static str {
    let model = repository.random.usize(..MODELS.len());
    let (name, operation) = ALL[repository.random.usize(..ALL.len())];
    operation(repository, model);
    name
}

/// Puts a good version in place, for a number that no version has or that of another one.
pub(super) fn make_good(repository: &mut Repository, model: usize) {
    if repository.versions[model].contains_key(&1) {
        leave(repository, model, 1);
        remove(&repository.version(model, 1));
    }
    repository.put(model, 1);
}

fn create(repository: &mut Repository, model: usize) {
    if let Some(version) = free(repository, model) {
        repository.put(model, version);
    }
}

fn copy_slowly(repository: &mut Repository, model: usize) {
    let Some(version) = free(repository, model) else {
        return;
    };
    let bytes = repository.new_bytes(model, version);
    repository.versions[model].insert(version, Holding::Changed);
    repository.make_folder(model, &repository.version(model, version));
    let file = repository.file(model, version);
    write_slowly(&file, &bytes, || repository.pause(40));
    // Half of it may have been refused, but nobody has seen other whole bytes here.
    repository.versions[model].insert(version, Holding::Good);
}

fn link(repository: &mut Repository, model: usize) {
    if let Some(version) = free(repository, model) {
        repository.link(model, version);
        repository.versions[model].insert(version, Holding::Good);
    }
}

fn turn_link(repository: &mut Repository, model: usize) {
    let links = |version: &u64| repository.version(model, *version).is_symlink();
    let Some(version) = repository.versions[model].keys().copied().find(links) else {
        return;
    };
    if may_lose(repository, model, version) {
        repository.spoil(model, version);
        repository.link(model, version);
    }
}

fn rename(repository: &mut Repository, model: usize) {
    let (Some(old), Some(new)) = (some(repository, model), free(repository, model)) else {
        return;
    };
    // The new number may be one that the policy does not accept.
    if !may_lose(repository, model, old) {
        return;
    }
    let holding = repository.versions[model][&old];
    repository.hold_as(model, old, new);
    leave(repository, model, old);
    fs::rename(
        repository.version(model, old),
        repository.version(model, new),
    )
    .expect("renamed");
    repository.versions[model].insert(new, holding);
}

fn hide(repository: &mut Repository, model: usize) {
    let Some(version) = some(repository, model) else {
        return;
    };
    if !may_lose(repository, model, version) {
        return;
    }
    let holding = repository.versions[model][&version];
    leave(repository, model, version);
    let hidden = repository.folder(model).join(".hidden");
    fs::rename(repository.version(model, version), &hidden).expect("hidden");
    repository.pause(150);
    fs::rename(&hidden, repository.version(model, version)).expect("shown");
    repository.versions[model].insert(version, holding);
}

fn delete(repository: &mut Repository, model: usize) {
    let Some(version) = some(repository, model) else {
        return;
    };
    if may_lose(repository, model, version) {
        leave(repository, model, version);
        remove(&repository.version(model, version));
    }
}

fn delete_slowly(repository: &mut Repository, model: usize) {
    let Some(version) = some(repository, model) else {
        return;
    };
    if may_lose(repository, model, version) {
        leave(repository, model, version);
        let folder = repository.version(model, version);
        if !folder.is_symlink() {
            fs::remove_file(repository.file(model, version)).expect("removed");
            repository.pause(100);
        }
        remove(&folder);
    }
}

fn delete_others(repository: &mut Repository, model: usize) {
    let Some(kept) = repository.good(model).first().copied() else {
        return;
    };
    let others: Vec<u64> = repository.versions[model].keys().copied().collect();
    for version in others.into_iter().filter(|version| *version != kept) {
        leave(repository, model, version);
        remove(&repository.version(model, version));
    }
}

fn forbid_model(repository: &mut Repository, model: usize) {
    let folder = repository.folder(model);
    forbid(repository, &folder);
}

fn forbid_root(repository: &mut Repository, _model: usize) {
    let folder = repository.root();
    forbid(repository, &folder);
}

fn forbid_version(repository: &mut Repository, model: usize) {
    if let Some(version) = some(repository, model) {
        let folder = repository.version(model, version);
        forbid(repository, &folder);
    }
}

/// Takes permissions away for a while: all, or only that to search.
fn forbid(repository: &mut Repository, folder: &Path) {
    let mode = repository.random.choice([0o000, 0o644]).expect("one");
    let folder = fs::canonicalize(folder).expect("there");
    fs::set_permissions(&folder, fs::Permissions::from_mode(mode)).expect("forbidden");
    repository.pause(200);
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o755)).expect("allowed");
}

/// Puts an empty folder in place of the directory for a while, as when a mount is lost.
fn empty_root(repository: &mut Repository, _model: usize) {
    let (root, away) = (repository.root(), repository.beside("away"));
    replace_by_empty(repository, &root, &away);
}

fn empty_model(repository: &mut Repository, model: usize) {
    let (folder, away) = (repository.folder(model), repository.beside("away"));
    replace_by_empty(repository, &folder, &away);
}

fn replace_by_empty(repository: &mut Repository, folder: &Path, away: &Path) {
    fs::rename(folder, away).expect("moved away");
    fs::create_dir(folder).expect("made");
    repository.pause(250);
    fs::remove_dir(folder).expect("empty");
    fs::rename(away, folder).expect("moved back");
}

fn truncate(repository: &mut Repository, model: usize) {
    let Some(version) = some(repository, model) else {
        return;
    };
    if may_lose(repository, model, version) {
        repository.spoil(model, version);
        let file = repository.file(model, version);
        let length = fs::metadata(&file).map_or(0, |m| m.len());
        let open = fs::File::options().write(true).open(file).expect("opened");
        open.set_len(length / 2).expect("truncated");
    }
}

/// Puts other bytes in place of a model: another model, or no model, at once or slowly.
fn overwrite(repository: &mut Repository, model: usize) {
    let Some(version) = some(repository, model) else {
        return;
    };
    if !may_lose(repository, model, version) {
        return;
    }
    repository.spoil(model, version);
    let bytes = if repository.random.bool() {
        repository.new_bytes(model, version)
    } else {
        b"no model at all".repeat(20)
    };
    let file = repository.file(model, version);
    let most = repository.random.choice([0, 40]).expect("one");
    write_slowly(&file, &bytes, || repository.pause(most));
}

/// Gives equal bytes other times, or another file.
fn touch(repository: &mut Repository, model: usize) {
    let Some(version) = some(repository, model) else {
        return;
    };
    let file = repository.file(model, version);
    let Ok(bytes) = fs::read(&file) else {
        return;
    };
    if repository.random.bool() {
        let open = fs::File::options().write(true).open(file).expect("opened");
        open.set_modified(SystemTime::now()).expect("dated");
    } else {
        let aside = repository.root().join(".copy");
        fs::write(&aside, bytes).expect("written");
        fs::rename(aside, file).expect("renamed");
    }
}

/// Leaves files and folders about that are no models.
fn litter(repository: &mut Repository, model: usize) {
    let place = match some(repository, model) {
        Some(version) if repository.random.bool() => repository.version(model, version),
        _ => repository
            .random
            .choice(places(repository, model))
            .expect("one"),
    };
    let name = ["README.md", "model.onnx~", ".model.onnx.swp", "4913", "v2"];
    let name = repository.random.choice(name).expect("one");
    let litter = place.join(name);
    if litter.exists() {
        remove(&litter);
    } else if name == "v2" {
        fs::create_dir(&litter).expect("made");
        fs::write(litter.join("model.onnx"), "no model").expect("written");
    } else {
        fs::write(litter, "text").expect("written");
    }
}

fn places(repository: &Repository, model: usize) -> [PathBuf; 2] {
    [repository.root(), repository.folder(model)]
}

/// Writes what changes nothing, what contradicts the graph, or what cannot be read, and sometimes
/// takes it back.
fn edit_config(repository: &mut Repository, model: usize) {
    let policy = MODELS[model].policy;
    let edit = repository.random.choice([
        "max_batch_size: 8\n",
        "input { name: \"x\" data_type: TYPE_FP32 dims: [ -1 ] }\n",
        "max_batch_size: {{\n",
        "",
    ]);
    repository.write_config(model, &format!("{policy}{}", edit.expect("one")));
    if repository.random.bool() {
        repository.pause(100);
        repository.write_config(model, policy);
    }
}

/// Tells whether the version can be lost: another good one stays, or this time none has to.
fn may_lose(repository: &mut Repository, model: usize, version: u64) -> bool {
    repository.good(model).iter().any(|good| *good != version) || repository.random.u8(..20) == 0
}

/// Takes a version from the list before it goes.
fn leave(repository: &mut Repository, model: usize, version: u64) {
    repository.spoil(model, version);
    repository.versions[model].remove(&version);
}

fn some(repository: &mut Repository, model: usize) -> Option<u64> {
    let all: Vec<u64> = repository.versions[model].keys().copied().collect();
    repository.random.choice(all)
}

/// A number that no version has.
fn free(repository: &mut Repository, model: usize) -> Option<u64> {
    let has = |version: &u64| repository.versions[model].contains_key(version);
    let all: Vec<u64> = (1..=VERSION_MAX).filter(|version| !has(version)).collect();
    repository.random.choice(all)
}

fn remove(path: &Path) {
    if path.is_dir() && !path.is_symlink() {
        fs::remove_dir_all(path).expect("removed");
    } else {
        fs::remove_file(path).expect("removed");
    }
}
