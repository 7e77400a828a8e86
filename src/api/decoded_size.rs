//! How much memory a protobuf message takes once it is decoded, told from its bytes: two bytes can become a
//! structure of hundreds. Reads the forms of all messages from the descriptors of the wire protocols.

#[cfg(test)]
mod tests;

use crate::core::error::{Error, Result};
use crate::core::fields::{Fields, WireField};
use crate::proto::DESCRIPTORS;
use prost::Message;
use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{DescriptorProto, FieldDescriptorProto, FileDescriptorSet};
use std::collections::{BTreeMap, HashMap};
use std::sync::LazyLock;

/// What a message may take in any case.
const DECODED_BYTES_MIN: usize = 256 << 20;
/// How many times its own size a larger message may take.
const GROWTH_MAX: usize = 4;
/// The deepest message within messages, as the decoder has it.
const DEPTH_MAX: usize = 100;
/// An entry of a map, beside its key and value.
const MAP_ENTRY_BYTES: usize = 64;
/// A list, a string or bytes, without their content.
const LIST_BYTES: usize = 32;
/// A map without its entries.
const MAP_BYTES: usize = 48;

/// Refuses a message that would take too much memory. `name` is its full name; a message that is not in the
/// descriptors is not looked at, and one that is malformed only up to there.
pub(super) fn check(name: &str, message: &[u8]) -> Result<()> {
    let Some(form) = FORMS.by_name.get(name) else {
        return Ok(());
    };
    let limit = DECODED_BYTES_MIN.max(message.len().saturating_mul(GROWTH_MAX));
    let mut left = limit;
    match FORMS.all[*form].take(message, &mut left, DEPTH_MAX) {
        Some(()) => Ok(()),
        None => Err(Error::too_large(format!(
            "the message of {} bytes has so many small parts that it would take over {limit} bytes of memory; \
             send fewer, or tensors as raw contents",
            message.len()
        ))),
    }
}

/// The forms of all messages.
struct MessageForms {
    all: Vec<MessageForm>,
    by_name: HashMap<String, usize>,
}

static FORMS: LazyLock<MessageForms> = LazyLock::new(|| {
    let files = FileDescriptorSet::decode(DESCRIPTORS).unwrap_or_default();
    MessageForms::of(&files)
});

/// What the fields of a message take.
#[derive(Default)]
struct MessageForm {
    /// The structure itself.
    bytes: usize,
    fields: BTreeMap<u64, FieldForm>,
}

#[derive(Clone, Copy)]
struct FieldForm {
    is_list: bool,
    is_map: bool,
    kind: FieldKind,
}

#[derive(Clone, Copy)]
enum FieldKind {
    /// A message, by its place among the forms.
    Message(usize),
    /// A string, whose content is copied.
    Text,
    /// Bytes, which stay in the message.
    Octets,
    /// A number that takes so many bytes, however few it has in the message.
    Varint(usize),
    /// A number of a fixed length.
    Fixed(usize),
}

impl MessageForms {
    fn of(files: &FileDescriptorSet) -> Self {
        let mut found = Vec::new();
        for file in &files.file {
            for message in &file.message_type {
                collect(file.package(), message, &mut found);
            }
        }
        let by_name: HashMap<String, usize> = found
            .iter()
            .enumerate()
            .map(|(at, (name, _))| (name.clone(), at))
            .collect();
        let all = found.iter().map(|(_, message)| {
            let fields = message.field.iter();
            let fields = fields.filter_map(|field| {
                let number = u64::try_from(field.number()).ok()?;
                Some((number, form_of(field, &by_name, &found)?))
            });
            let fields: BTreeMap<u64, FieldForm> = fields.collect();
            MessageForm { bytes: 0, fields }
        });
        let mut forms = Self {
            all: all.collect(),
            by_name,
        };
        for at in 0..forms.all.len() {
            forms.all[at].bytes = forms.bytes_of(at, 0);
        }
        forms
    }

    /// What the structure of a message takes, with those that it contains itself.
    fn bytes_of(&self, at: usize, depth: usize) -> usize {
        let fields = self.all[at].fields.values();
        let bytes = fields.map(|field| match field.kind {
            _ if field.is_map => MAP_BYTES,
            _ if field.is_list => LIST_BYTES,
            FieldKind::Message(inner) if depth < 4 => self.bytes_of(inner, depth + 1),
            FieldKind::Varint(bytes) | FieldKind::Fixed(bytes) => bytes,
            _ => LIST_BYTES,
        });
        bytes.sum()
    }
}

/// Notes a message and those that are declared within it, with their full names.
fn collect<'d>(
    scope: &str,
    message: &'d DescriptorProto,
    found: &mut Vec<(String, &'d DescriptorProto)>,
) {
    let name = format!("{scope}.{}", message.name());
    for inner in &message.nested_type {
        collect(&name, inner, found);
    }
    found.push((name, message));
}

fn form_of(
    field: &FieldDescriptorProto,
    by_name: &HashMap<String, usize>,
    found: &[(String, &DescriptorProto)],
) -> Option<FieldForm> {
    let kind = match field.r#type() {
        Type::Message => {
            let name = field.type_name().trim_start_matches('.');
            FieldKind::Message(*by_name.get(name)?)
        }
        Type::String => FieldKind::Text,
        Type::Bytes => FieldKind::Octets,
        Type::Bool => FieldKind::Varint(1),
        Type::Int32 | Type::Uint32 | Type::Sint32 | Type::Enum => FieldKind::Varint(4),
        Type::Int64 | Type::Uint64 | Type::Sint64 => FieldKind::Varint(8),
        Type::Float | Type::Fixed32 | Type::Sfixed32 => FieldKind::Fixed(4),
        Type::Double | Type::Fixed64 | Type::Sfixed64 => FieldKind::Fixed(8),
        Type::Group => return None,
    };
    let is_entry = |at: usize| {
        let options = found[at].1.options.as_ref();
        options.is_some_and(|options| options.map_entry())
    };
    Some(FieldForm {
        is_list: field.label() == Label::Repeated,
        is_map: matches!(kind, FieldKind::Message(at) if is_entry(at)),
        kind,
    })
}

impl MessageForm {
    /// Takes what the content of a message needs from what is `left`; none if it is not enough.
    fn take(&self, message: &[u8], left: &mut usize, depth: usize) -> Option<()> {
        for field in Fields::of(message) {
            // The decoder says what is malformed.
            let Ok((number, content)) = field else {
                return Some(());
            };
            if let Some(form) = self.fields.get(&number) {
                *left = left.checked_sub(form.bytes(content))?;
                if let (FieldKind::Message(inner), WireField::Body(body)) = (form.kind, content)
                    && depth > 0
                {
                    FORMS.all[inner].take(body, left, depth - 1)?;
                }
            }
        }
        Some(())
    }
}

impl FieldForm {
    /// What one field takes beside the structure of its message and the content of a message in it. Lists grow by
    /// doubling, so an element takes twice its size.
    fn bytes(&self, content: WireField<'_>) -> usize {
        let body = match content {
            WireField::Body(body) => Some(body.len()),
            _ => None,
        };
        let each = if self.is_list { 2 } else { 0 };
        match (self.kind, body) {
            (FieldKind::Message(inner), _) if self.is_map => {
                MAP_ENTRY_BYTES + 2 * FORMS.all[inner].bytes
            }
            (FieldKind::Message(inner), _) => each * FORMS.all[inner].bytes,
            (FieldKind::Text, Some(length)) => each * LIST_BYTES + length,
            (FieldKind::Octets, _) => each * LIST_BYTES,
            // Numbers that are packed: each has at least one byte.
            (FieldKind::Varint(bytes), Some(length)) => bytes.saturating_mul(length),
            (FieldKind::Fixed(_), Some(length)) => length,
            (FieldKind::Varint(bytes) | FieldKind::Fixed(bytes), None) => each * bytes,
            (FieldKind::Text, None) => 0,
        }
    }
}
